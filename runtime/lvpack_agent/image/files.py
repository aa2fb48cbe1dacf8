"""The files of an image set: their names, how large they may be, who may read them; small ones written."""

import stat
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.shares.remote import PARTIAL as PARTIAL
from lvpack_agent.sizes import GIB, MIB

MANIFEST, SUMS, RESTORE, LOG = "manifest.json", "SHA256SUMS", "RESTORE.txt", "agent.log"

# No more of a file is read, and none larger is written. A range of the block map takes some 60 bytes in the manifest,
# and its maker needs ten times as much memory: this is four million ranges.
MANIFEST_MOST = 256 * MIB
# A line for each file, some 80 bytes: there are a few for each disk and each VG.
SUMS_MOST = MIB
# What tools print of a disk or a VG: LVM's text has its place in a metadata area, mostly of 1 MiB.
TABLE_MOST = 16 * MIB
# All else but images; the largest is the block map for bmaptool, with less than the manifest has.
OTHER_MOST = MANIFEST_MOST
# So much is read of all of these together: a set may name ten thousand files.
OTHERS_MOST = 2 * GIB

# The permissions of a set's folder, by lvpack.readers. Its files take theirs from it (guarded.create).
FOLDER_MODES = {"owner": 0o700, "group": 0o750}


def image_name(index: int, suffix: str) -> str:
    """Return the name of the image of a packed disk."""
    return f"disk{index or ''}.img{suffix}"


def check_group(folder: Path, warn: Callable[[str], object]) -> None:
    """Warn if the folder of a set is for a group to read, and that is not the group of the folder above."""
    mine, above = folder.stat(), folder.parent.stat()
    if mine.st_mode & stat.S_IRGRP and mine.st_gid != above.st_gid:
        warn(
            f"lvpack.readers=group: the set's files are for group {mine.st_gid}, not for {above.st_gid}, the group of "
            "the share's folder; `chmod g+s` on that folder makes the server give it"
        )


def write_text(folder: Path, name: str, text: str, limit: int = OTHER_MOST) -> None:
    """Write a small file of the set and sync it. Raises OSError."""
    guarded.write(folder / name, text.encode(errors="surrogateescape"), top=folder, limit=limit)


def copy_layout(layout: Path, folder: Path) -> None:
    """Copy the files of a folder into layout/ of an image set, and sync each. Raises OSError."""
    for path in sorted(layout.iterdir()):
        data = guarded.read_bytes(path, TABLE_MOST, top=layout.parent)
        guarded.write(folder / "layout" / path.name, data, top=folder)


SUFFIXES = {"zstd": ".zst", "gzip": ".gz", "none": ""}


def is_zstd(name: str) -> bool:
    """Return whether a file of that name is an image that zstd has compressed."""
    return Path(name).suffix == SUFFIXES["zstd"]


def decompressor(name: str) -> list[str]:
    """Return the command that decompresses a file of that name, [] if it is not compressed."""
    return {".zst": ["zstd", "--decompress", "--stdout", "--quiet"], ".gz": ["gzip", "--decompress", "--stdout"]}.get(
        Path(name).suffix, []
    )
