"""What a filesystem other than ext2/3/4 leaves free, by partclone(8), which reads its metadata only.

A map is used only if the filesystem is known to be whole: with a log to replay, or a flaw, what is on the disk says too
little about which blocks are in use, and then all of it is read.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.layout import Range
from lvpack_agent.processes import ToolFailed, run

# btrfs: include/uapi/linux/btrfs_tree.h, struct btrfs_super_block at 64 KiB.
_BTRFS_SUPER, _BTRFS_LOG_ROOT, _BTRFS_DEVICES = 65536, 96, 136
UNREPLAYED = "its log is not replayed"
_XFS_CLEAN = re.compile(r"state: <CLEAN>")
_ROW = re.compile(r"^0x([0-9A-F]+)\s+0x([0-9A-F]+)\s+([+?])$", re.MULTILINE)


class Unmapped(Exception):
    """Why the free blocks of a filesystem cannot be told; its text follows a colon."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """Options of partclone's program for a type, and what checks such a filesystem without writing; [] is nothing.

    partclone itself refuses vfat and NTFS that are marked as in use; btrfs has a checksum for all that it reads there.
    """

    program: str
    check: tuple[str, ...] = ()


_TOOLS = {
    "xfs": _Tool("partclone.xfs", ("xfs_repair", "-n")),
    "btrfs": _Tool("partclone.btrfs"),
    "vfat": _Tool("partclone.vfat", ("fsck.fat", "-n")),
    "exfat": _Tool("partclone.exfat", ("fsck.exfat", "-n")),
    "ntfs": _Tool("partclone.ntfs"),
}
TYPES = tuple(_TOOLS)


def free(device: str, kind: str) -> tuple[Range, ...]:
    """Return the ranges in bytes that a filesystem of a type among TYPES leaves free. Raises Unmapped."""
    tool = _TOOLS[kind]
    try:
        if reason := _unfinished(device, kind):
            raise Unmapped(reason)
        if tool.check:
            run([*tool.check, device])
        answer = run([tool.program, "--domain", "--source", device, "--output", "-", "--logfile", "/dev/null"])
    except ToolFailed as failed:
        raise Unmapped(failed.message) from None
    return parse(answer.stdout)


def replay(device: str, kind: str, folder: Path) -> str:
    """Let the kernel replay the log of a filesystem, if there is one; return what went wrong, "" for nothing.

    Never ask for that on anything but a copy-on-write overlay. folder is where it is mounted meanwhile.
    """
    if kind not in _TOOLS or _unfinished(device, kind) != UNREPLAYED:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    options = "noatime,nouuid" if kind == "xfs" else "noatime"
    try:
        run(["mount", "-t", kind, "-o", options, device, folder])
        run(["umount", folder])
    except ToolFailed as failed:
        return failed.message
    return ""


def _unfinished(device: str, kind: str) -> str:
    """Return what makes a map of no use, "" if nothing does."""
    if kind == "xfs" and not _XFS_CLEAN.search(run(["xfs_logprint", "-t", device]).stdout):
        return UNREPLAYED
    if kind == "btrfs":
        with Path(device).open("rb") as file:
            file.seek(_BTRFS_SUPER)
            head = file.read(4096)
        if struct.unpack_from("<Q", head, _BTRFS_LOG_ROOT) != (0,):
            return UNREPLAYED
        if struct.unpack_from("<Q", head, _BTRFS_DEVICES) != (1,):
            return "it is on several devices"
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
