"""The base of the live image: Debian's root filesystem by diskimage-builder, packed and cached by its inputs."""

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import ToolFailed
from lvpack_builder import initrd, isolated, mirror, rootfs
from lvpack_builder.outputs import remove
from lvpack_builder.paths import cache_dir, locked, project_root

DEFAULT_RELEASE = "trixie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A built base: tree is the root filesystem, layer its squashfs, early the first part of the initrd."""

    tree: Path
    layer: Path
    early: Path
    kernel: Path
    version: str


def inputs_hash(release: str) -> str:
    """Return a hash of all that the base is made from but the archive's own state."""
    digest = hashlib.sha256(release.encode())
    root = project_root()
    files = [p for p in sorted((root / "elements").rglob("*")) if p.is_file()]
    files += [initrd.STAGE1, Path(initrd.__file__), Path(rootfs.__file__), Path(__file__)]
    for path in files:
        digest.update(f"{path.name} {path.stat().st_mode & 0o111}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _base(folder: Path) -> Base:
    return Base(
        tree=folder / "tree",
        layer=folder / "00-base.squashfs",
        early=folder / "early.cpio.zst",
        kernel=folder / "vmlinuz",
        version=(folder / "kernel-version").read_text(),
    )


def base(release: str = DEFAULT_RELEASE) -> Base:
    """Return the base for a Debian release, from the cache if its inputs have not changed.

    Raises Failed, naming the log, if diskimage-builder fails.
    """
    final = cache_dir() / f"base-{inputs_hash(release)}"
    with locked("base"):
        if not final.exists():
            for left in cache_dir().glob("base-*.partial"):  # by a build that was killed
                remove(left)
            partial = final.with_name(final.name + ".partial")
            try:
                partial.mkdir()
                _disk_image_create(partial, release)
                _pack(partial)
                partial.rename(final)
            finally:
                remove(partial)
    return _base(final)


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


def _pack(folder: Path) -> None:
    tree = folder / "tree"
    versions = sorted(p.name for p in (tree / "usr/lib/modules").iterdir())
    if len(versions) != 1:
        raise Failed(f"cannot build the live image: it has {len(versions)} kernels: {', '.join(versions)}")
    shutil.move(tree / f"boot/vmlinuz-{versions[0]}", folder / "vmlinuz")
    (folder / "kernel-version").write_text(versions[0])
    initrd.write_early(tree, versions[0], folder / "early.cpio.zst")
    shutil.rmtree(tree / "boot")
    (tree / "boot").mkdir()
    rootfs.squash(tree, folder / "00-base.squashfs", level=19)
