"""Firmware of the live image: what the modules that were kept name, of all that was installed."""

import shutil
from pathlib import Path

from lvpack_agent.processes import run

FOLDER = "usr/lib/firmware"


def copy_named(whole: Path, tree: Path) -> None:
    """Copy the firmware that a module of tree names from the whole root filesystem, if it has any.

    Links become files: what they lead to is seldom named, and squashfs stores equal files once.
    """
    source = whole / FOLDER
    if not source.is_dir():
        return
    for name in named(tree):
        # Some names are patterns, such as "qat_*.bin" (MODULE_FIRMWARE in the kernel's sources).
        for file in sorted(source.glob(name)):
            if file.is_file():
                target = tree / FOLDER / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


def named(tree: Path) -> list[str]:
    """Return the names of firmware files that the modules of a tree give, below its folder for firmware."""
    modules = sorted((tree / "usr/lib/modules").rglob("*.ko"))
    if not modules:
        return []
    return sorted(set(run(["modinfo", "--field", "firmware", *modules]).stdout.split()))
