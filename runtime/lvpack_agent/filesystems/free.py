"""What a filesystem other than ext2/3/4 leaves free, by partclone(8), which reads its metadata only.

A map is used only if the filesystem is known to be whole: with a log to replay, or a flaw, what is on the disk says too
little about which blocks are in use, and then all of it is read. All is read, too, of filesystems of which partclone
0.3.36 makes wrong maps with a good exit status, as was seen or reported to its makers: Btrfs (the second copy of all
metadata counts as free, and so does what metadata with a wrong checksum names), exFAT (the last cluster counts as free,
whatever is in it), FAT12 (its entries are read as if they were FAT16's), XFS of 2^32 blocks and more (numbers
overflow), NTFS of a hibernated Windows (its bitmap may be old).
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs, xfs_files, xfs_superblock
from lvpack_agent.layout.ranges import Range, joined
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo

UNREPLAYED = "its log is not replayed"
_XFS_MOST = 1 << 32
_ROW = re.compile(r"^0x([0-9A-F]+)\s+0x([0-9A-F]+)\s+([+?])$", re.MULTILINE)


class Unmapped(Exception):
    """Why the free blocks of a filesystem cannot be told; its text follows a colon."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """partclone's program for a type of filesystem, and a check that raises Failed if one is damaged."""

    program: str
    check: Callable[[str], object]


_TOOLS = {
    "xfs": _Tool("partclone.xfs", xfs.check),
    "vfat": _Tool("partclone.vfat", lambda device: run(["fsck.fat", "-n", device])),
}
MAPPABLE = tuple(_TOOLS)


def free_ranges(device: str, kind: str) -> tuple[Range, ...]:
    """Return the ranges in bytes that a filesystem of a type among MAPPABLE leaves free. Raises Unmapped.

    What files on XFS have preallocated and not written is free as well: it is read as zeros, whatever is there.
    """
    tool = _TOOLS[kind]
    try:
        if reason := _unmappable(device, kind):
            raise Unmapped(reason)
        tool.check(device)
        answer = run([tool.program, "--domain", "--source", device, "--output", "-", "--logfile", "/dev/null"])
    except Failed as failed:
        raise Unmapped(failed.message) from None
    except OSError as error:
        raise Unmapped(f"it cannot be read: {error.strerror}") from None
    return joined((*parse(answer.stdout), *_unwritten(device, kind)))


def _unwritten(device: str, kind: str) -> tuple[Range, ...]:
    """Return the ranges that files have preallocated and not written, as far as that can be told."""
    with suppress(Failed):
        if kind == "xfs":
            return xfs_files.look(device).preallocated
    return ()


def replay(device: str, kind: str, folder: Path) -> None:
    """Let the kernel replay the log of a filesystem, if there is one. If that fails, free_ranges() refuses it.

    Never ask for that on anything but a copy-on-write overlay. folder is where it is mounted meanwhile.
    """
    with suppress(Failed, OSError):
        if kind != "xfs" or _unmappable(device, kind) != UNREPLAYED:
            return
        with Undo() as undo:
            xfs.mounted(device, folder, undo)


def _unmappable(device: str, kind: str) -> str:
    """Return what makes a map of no use, "" if nothing does."""
    if kind == "vfat" and blkid.identify(device).get("VERSION") == "FAT12":
        return "it is FAT12"
    if kind == "xfs":
        if (blocks := xfs_superblock.read(device).blocks) >= _XFS_MOST:
            return f"it has {blocks:,} blocks"
        if not xfs.is_clean(device):
            return UNREPLAYED
    return ""


def parse(text: str) -> tuple[Range, ...]:
    """Read a map as ddrescue(1) has it: rows of position, size and status, "?" for what is free.

    Raises Failed unless the rows follow one another from 0 on without a gap.
    """
    found, at = [], 0
    for start, count, status in _ROW.findall(text):
        part = Range(start=int(start, 16), count=int(count, 16))
        if part.start != at:
            break
        at = part.end
        if status == "?":
            found.append(part)
    else:
        if at:
            return tuple(found)
    raise Failed(f"cannot read partclone's map: a row at byte {at:,} is missing")
