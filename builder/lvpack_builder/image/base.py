"""The base of the live image: Debian's root filesystem by diskimage-builder, packed and cached by its inputs.

No unit test: all of it is diskimage-builder and files, in qemu-tests/tests/test_build.py.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import ToolFailed
from lvpack_builder import isolated, reproducible
from lvpack_builder.image import firmware, initrd, mirror, packages, prune, rootfs, rules
from lvpack_builder.image.outputs import remove
from lvpack_builder.image.recipe import Recipe, elements_path, hashed
from lvpack_builder.paths import cache_dir, locked

# What makes of diskimage-builder's tree what goes into the image.
SOURCES = ("base", "elf", "firmware", "initrd", "modules", "prune", "rootfs", "rules", "tree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A built base: what diskimage-builder made, what of it goes into the image, its squashfs, the initrd's start.

    epoch is the date of all files of the image, in seconds since 1970.
    """

    whole: Path
    tree: Path
    layer: Path
    early: Path
    kernel: Path
    version: str
    epoch: int


def _base(folder: Path, whole: Path) -> Base:
    return Base(
        whole=whole,
        tree=folder / "tree",
        layer=folder / "00-base.squashfs",
        early=folder / "early.cpio.zst",
        kernel=folder / "vmlinuz",
        version=(folder / "kernel-version").read_text(),
        epoch=int((folder / "epoch").read_text()),
    )


def base(recipe: Recipe | None = None) -> Base:
    """Return the base by a recipe, from the cache if its inputs have not changed.

    Raises Refused before it starts if an element or something of the mirror is missing; Failed, naming the log, if
    diskimage-builder fails, or if a rule of prune.list does not fit the tree.
    """
    recipe = recipe or Recipe()
    whole_key = recipe.key()
    sources = [Path(__file__).with_name(f"{name}.py") for name in SOURCES]
    files = [initrd.STAGE1, rules.RULES, Path(reproducible.__file__), *sources]
    key = hashed([whole_key, str(reproducible.given())], files)
    whole, final = cache_dir() / f"whole-{whole_key}", cache_dir() / f"base-{key}"
    with locked("base"):
        with _making(whole) as partial:
            if partial:
                _disk_image_create(partial, recipe)
        with _making(final) as partial:
            if partial:
                epoch = reproducible.date_of(whole / "tree")
                (partial / "epoch").write_text(str(epoch))
                with reproducible.dated(epoch):
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


def _disk_image_create(folder: Path, recipe: Recipe) -> None:
    mirrors = mirror.read()
    recipe.check_mirror(mirrors)
    log = cache_dir() / "disk-image-create.log"
    scripts = Path(sys.executable).parent
    scratch = folder / "tmp"
    scratch.mkdir()
    environment = {
        "PATH": f"{scripts}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "ELEMENTS_PATH": ":".join(elements_path()),
        "DIB_RELEASE": recipe.release,
        "DIB_DEBIAN_COMPONENTS": ",".join(recipe.components),
        "DIB_MMDEBSTRAP_EXTRA_ARGS": _pin_hooks(scratch, recipe),
        "DIB_DISTRIBUTION_MIRROR": mirrors.main,
        "DIB_DEBIAN_SECURITY_MIRROR": mirrors.security,
        "DIB_IMAGE_CACHE": str(cache_dir() / "dib"),
        "DIB_LOCKFILES": str(scratch / "locks"),
        "TMP_DIR": str(scratch),
        "TMPDIR": str(scratch),
        # The inputs of its build are in the hash; its outputs are ours to cache.
        "LVPACK_TREE": str(folder / "tree"),
    }
    command: list[str | Path] = [scripts / "disk-image-create", "-n", "-o", scratch / "none", *recipe.all_elements]
    try:
        isolated.run(command, log=log, env=environment)
    except ToolFailed as failed:
        cause = last_words(failed.completed.stdout) or failed.message
        raise Failed(f"cannot build the live image: disk-image-create: {cause}", hint=f"its log is {log}") from failed
    remove(scratch)
    if recipe.pins:
        recipe.pins.check_installed(packages.of_tree(folder / "tree"))


def _pin_hooks(scratch: Path, recipe: Recipe) -> str:
    """Return mmdebstrap's arguments that pin packages from its first step on; DIB hands them to a shell."""
    if not recipe.pins:
        return ""
    pins, downgrades = scratch / "lvpack-pins", scratch / "90lvpack-pins"
    pins.write_text(recipe.pins.preferences())
    downgrades.write_text('APT::Get::allow-downgrades "true";\n')
    copies = ((pins, "/etc/apt/preferences.d"), (downgrades, "/etc/apt/apt.conf.d"))
    return " ".join(f"--setup-hook='copy-in {file} {folder}'" for file, folder in copies)


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
    firmware.copy_named(whole, tree)
    reproducible.normalise(tree)
    initrd.write_early(tree, versions[0], folder / "early.cpio.zst")
    rootfs.squash(tree, folder / "00-base.squashfs", rootfs.SMALL)
