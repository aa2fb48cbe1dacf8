"""The base of the live image: Debian's root filesystem by diskimage-builder, packed and cached by its inputs."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import ToolFailed
from lvpack_builder import initrd, isolated, mirror, prune, rootfs
from lvpack_builder.outputs import remove
from lvpack_builder.paths import cache_dir, locked, project_root

DEFAULT_RELEASE = "trixie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A built base: what diskimage-builder made, what of it goes into the image, its squashfs, the initrd's start."""

    whole: Path
    tree: Path
    layer: Path
    early: Path
    kernel: Path
    version: str


def whole_hash(release: str) -> str:
    """Return a hash of all that diskimage-builder's tree is made from but the archive's own state."""
    elements = project_root() / "elements"
    return _hash(release, [*sorted(p for p in elements.rglob("*") if p.is_file()), Path(__file__)])


def inputs_hash(release: str) -> str:
    """Return a hash of all that the base is made from but the archive's own state."""
    sources = [Path(__file__).with_name(f"{name}.py") for name in ("elf", "initrd", "modules", "prune", "rootfs")]
    return _hash(whole_hash(release), [initrd.STAGE1, prune.RULES, *sources])


def _hash(start: str, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(start.encode())
    for path in files:
        digest.update(f"{path.name} {path.stat().st_mode & 0o111}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _base(folder: Path, whole: Path) -> Base:
    return Base(
        whole=whole,
        tree=folder / "tree",
        layer=folder / "00-base.squashfs",
        early=folder / "early.cpio.zst",
        kernel=folder / "vmlinuz",
        version=(folder / "kernel-version").read_text(),
    )


def base(release: str = DEFAULT_RELEASE) -> Base:
    """Return the base for a Debian release, from the cache if its inputs have not changed.

    Raises Failed, naming the log, if diskimage-builder fails, or if a rule of prune.list does not fit the tree.
    """
    whole = cache_dir() / f"whole-{whole_hash(release)}"
    final = cache_dir() / f"base-{inputs_hash(release)}"
    with locked("base"):
        with _making(whole) as partial:
            if partial:
                _disk_image_create(partial, release)
        with _making(final) as partial:
            if partial:
                _pack(whole / "tree", partial)
    return _base(final, whole / "tree")


@contextmanager
def _making(final: Path) -> Iterator[Path | None]:
    """Yield a folder to fill, which then becomes final; None if final is there already."""
    if final.exists():
        yield None
        return
    kind = final.name.partition("-")[0]
    for left in final.parent.glob(f"{kind}-*.partial"):  # by a build that was killed
        remove(left)
    partial = final.with_name(final.name + ".partial")
    try:
        partial.mkdir()
        yield partial
        partial.rename(final)
    finally:
        remove(partial)


def _disk_image_create(folder: Path, release: str) -> None:
    mirrors = mirror.read()
    log = cache_dir() / "disk-image-create.log"
    scripts = Path(sys.executable).parent
    scratch = folder / "tmp"
    scratch.mkdir()
    environment = {
        "PATH": f"{scripts}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "ELEMENTS_PATH": str(project_root() / "elements"),
        "DIB_RELEASE": release,
        "DIB_DISTRIBUTION_MIRROR": mirrors.main,
        "DIB_DEBIAN_SECURITY_MIRROR": mirrors.security,
        "DIB_IMAGE_CACHE": str(cache_dir() / "dib"),
        "DIB_LOCKFILES": str(scratch / "locks"),
        "TMP_DIR": str(scratch),
        "TMPDIR": str(scratch),
        # The inputs of its build are in the hash; its outputs are ours to cache.
        "LVPACK_TREE": str(folder / "tree"),
    }
    command: list[str | Path] = [scripts / "disk-image-create", "-n", "-o", scratch / "none", "lvpack-image"]
    try:
        isolated.run(command, log=log, env=environment)
    except ToolFailed as failed:
        cause = last_words(failed.completed.stdout) or failed.message
        raise Failed(f"cannot build the live image: disk-image-create: {cause}", hint=f"its log is {log}") from failed
    remove(scratch)


def last_words(log: str) -> str:
    """Return what a failed disk-image-create said last before it tidied up, from its log."""
    said: list[str] = []
    for line in log.splitlines():
        text = line.partition(" | ")[2].strip() or line.strip()
        if text.startswith("Unmount "):
            break
        said.append(text)
    return "; ".join([text for text in said if text][-3:])


def _pack(whole: Path, folder: Path) -> None:
    versions = sorted(p.name for p in (whole / "usr/lib/modules").iterdir())
    if len(versions) != 1:
        raise Failed(f"cannot build the live image: it has {len(versions)} kernels: {', '.join(versions)}")
    shutil.copy(whole / f"boot/vmlinuz-{versions[0]}", folder / "vmlinuz")
    (folder / "kernel-version").write_text(versions[0])
    tree = folder / "tree"
    prune.prune(whole, tree)
    initrd.write_early(tree, versions[0], folder / "early.cpio.zst")
    rootfs.squash(tree, folder / "00-base.squashfs", rootfs.SMALL)
