"""What of the built live image takes how much, as the table of docs/image.md.

Run it by `python -m lvpack_builder.image.composition`.

Each group of files is packed by itself with the image's own settings, so the sum is a little more than the whole.
"""

import re
import tempfile
from pathlib import Path

import lvpack_agent
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder import reproducible
from lvpack_builder.image import rootfs
from lvpack_builder.image.base import Base, base
from lvpack_builder.image.build import built_image
from lvpack_builder.paths import cache_dir

# The first pattern that matches the start of a path in the tree.
GROUPS = {
    "modules: network cards and networks": r"usr/lib/modules/[^/]+/kernel/(drivers/net|net)/",
    "modules: disks and their controllers": r"usr/lib/modules/[^/]+/kernel/drivers/"
    r"(ata|block|cdrom|dax|message|mmc|nvdimm|nvme|scsi|target)/",
    "modules: md, device-mapper": r"usr/lib/modules/[^/]+/kernel/drivers/md/",
    "modules: filesystems": r"usr/lib/modules/[^/]+/kernel/fs/",
    "modules: USB, keyboards": r"usr/lib/modules/[^/]+/kernel/drivers/(hid|input|usb)/",
    "modules: the rest, and their index": r"usr/lib/modules/",
    "Python": r"usr/lib/python3|usr/bin/python3",
    "libraries": r"usr/lib/x86_64-linux-gnu/",
    "programs": r"usr/s?bin/|usr/lib/udev/[^/]+$|usr/libexec/",
    "the rest": r"",
}


def group_of(path: str) -> str:
    """Return the group of a file, by its path in the tree without a leading slash."""
    return next(name for name, pattern in GROUPS.items() if re.match(pattern, path))


def rows(built: Base) -> list[tuple[str, int, int]]:
    """Measure the image that was built from a base: (what, bytes as files, bytes in the image)."""
    image = built_image()
    files: dict[str, list[Path]] = {name: [] for name in GROUPS}
    for path in sorted(built.tree.rglob("*")):
        inside = path.relative_to(built.tree)
        if path.is_file() and not path.is_symlink() and inside.parts[0] != "tmp":  # builds work in /tmp
            files[group_of(str(inside))].append(path)
    found = []
    with tempfile.TemporaryDirectory(prefix="composition-", dir=cache_dir()) as scratch:
        for number, (name, paths) in enumerate(files.items()):
            folder, packed = Path(scratch) / str(number), Path(scratch) / f"{number}.squashfs"
            folder.mkdir()
            names = "".join(f"{path.relative_to(built.tree)}\n" for path in paths)
            run(
                ["cpio", "--pass-through", "--make-directories", "--link", "--quiet", folder],
                input=names,
                cwd=built.tree,
            )
            rootfs.squash(folder, packed, rootfs.SMALL)
            found.append((name, sum(path.stat().st_size for path in paths), packed.stat().st_size))
        agent = Path(scratch) / "agent.squashfs"
        rootfs.agent_layer(built.tree, agent)
        sources = sum(path.stat().st_size for path in Path(lvpack_agent.__file__).parent.rglob("*.py"))
        found.append(("the agent", sources, agent.stat().st_size))
    early, kernel, whole = (p.stat().st_size for p in (built.early, image.kernel, image.initrd))
    found.append(("first stage of the initrd", 0, early))
    found.append(("initrd, all of the above", 0, whole))
    found.append(("kernel", kernel, kernel))
    found.append(("boot loaders and the ISO's own", 0, image.iso.stat().st_size - kernel - whole))
    found.append(("ISO", 0, image.iso.stat().st_size))
    return found


if __name__ == "__main__":
    built = base()
    with reproducible.dated(built.epoch):
        print("| what | files, MiB | packed, MiB |\n|---|---:|---:|")
        for what, raw, size in rows(built):
            print(f"| {what} | {f'{raw / MIB:.1f}' if raw else ''} | {size / MIB:.1f} |")
