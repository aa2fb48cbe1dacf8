"""Where the blocks of a file are, of what kind, and who shares them: FIEMAP, FICLONERANGE and fallocate(2).

Facts: the kernel's Documentation/filesystems/fiemap.rst, ioctl_ficlonerange(2), fallocate(2). All numbers are bytes.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from lvpack_agent.sizes import round_up

# linux/fs.h: FS_IOC_FIEMAP is _IOWR('f', 11, struct fiemap of 32 bytes), FICLONERANGE _IOW(0x94, 13, 32 bytes).
_FIEMAP, _CLONE_RANGE = 0xC020660B, 0x4020940D
_REQUEST = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_CLONE = struct.Struct("=qQQQ")
# linux/fiemap.h
_LAST, _UNWRITTEN, _SHARED = 0x1, 0x800, 0x2000
# As many extents as a buffer takes that Python's ioctl() keeps on its stack (1024 bytes); then as many as are worth it.
_FEW, _MANY = 17, 1000
# linux/falloc.h
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02
# The end of the largest file: the offset of no byte is larger.
MAX_SIZE = (1 << 63) - 1
# Bytes that are copied at a time, and bytes that are compared at a time: those fit into a processor's cache.
BUFFER, _COMPARED = 1 << 20, 1 << 18


class Extent(NamedTuple):
    """Blocks of a file that lie side by side on the device: bytes start to end of the file, from physical on there.

    end is that of the last block, which can be beyond the end of the file.
    """

    start: int
    end: int
    physical: int
    written: bool
    shared: bool


class Allocation(NamedTuple):
    """A part of a file, from byte start up to byte end, that has blocks: written, or only preallocated."""

    start: int
    end: int
    written: bool


def of_file(fd: int) -> list[Extent]:
    """Return the extents of a file, in order; bytes in none of them are a hole."""
    found: list[Extent] = []
    at, room = 0, _FEW
    while True:
        buffer = bytearray(_REQUEST.size + room * _EXTENT.size)
        _REQUEST.pack_into(buffer, 0, at, MAX_SIZE - at, 0, 0, room, 0)
        fcntl.ioctl(fd, _FIEMAP, buffer)
        count = _REQUEST.unpack_from(buffer)[3]
        flags = _LAST
        for number in range(count):
            start, physical, length, flags = _EXTENT.unpack_from(buffer, _REQUEST.size + number * _EXTENT.size)
            found.append(Extent(start, start + length, physical, not flags & _UNWRITTEN, bool(flags & _SHARED)))
        if flags & _LAST or not count or found[-1].end >= MAX_SIZE:
            return found
        at, room = found[-1].end, _MANY


def allocations(extents: Iterable[Extent], size: int, block: int, beyond: bool) -> list[Allocation]:
    """Return the parts of a file of size bytes that have blocks; neighbours of one kind are one part.

    Blocks beyond the end of the file are preallocated, whatever they are marked as; without beyond they are left out:
    the kernel gives those to files that grow, and takes them back.
    """
    end = round_up(size, block)
    found: list[Allocation] = []
    for extent in extents:
        for start, stop, written in (
            (extent.start, min(extent.end, end), extent.written),
            (max(extent.start, end), extent.end if beyond else 0, False),
        ):
            if start >= stop:
                continue
            if found and found[-1].end == start and found[-1].written == written:
                start = found.pop().start
            found.append(Allocation(start, stop, written))
    return found


def minus(parts: Iterable[Allocation], others: Iterable[Allocation]) -> list[tuple[int, int]]:
    """Return the ranges that are in parts and in none of others, whatever their kind; both are in order."""
    found = []
    taken = list(others)
    first = 0
    for start, end, _ in parts:
        while first < len(taken) and taken[first].end <= start:
            first += 1
        for index in range(first, len(taken)):
            other = taken[index]
            if other.start >= end:
                break
            if start < other.start:
                found.append((start, other.start))
            start = max(start, other.end)
        if start < end:
            found.append((start, end))
    return found


def copy(source: int, target: int, start: int, end: int, buffer: bytearray) -> None:
    """Copy the bytes of a file from start up to end to the same place in another. Raises OSError."""
    view = memoryview(buffer)
    while start < end:
        count = os.preadv(source, [view[: min(len(buffer), end - start)]], start)
        if not count:
            raise OSError(0, f"it ends at byte {start:,} now")
        done = 0
        while done < count:
            done += os.pwrite(target, view[done:count], start + done)
        start += count


def first_difference(one: int, other: int, start: int, end: int) -> int | None:
    """Return the offset of a block of bytes that differs in two files between start and end, None if none does."""
    while start < end:
        mine, theirs = (os.pread(fd, min(_COMPARED, end - start), start) for fd in (one, other))
        if not mine or mine != theirs:
            return start
        start += len(mine)
    return None


def clone(source: int, offset: int, count: int, target: int, at: int) -> None:
    """Let target have the blocks of source from offset on, shared. Raises OSError (EINVAL: not in whole blocks)."""
    fcntl.ioctl(target, _CLONE_RANGE, _CLONE.pack(source, offset, count, at))


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    return library


def allocate(fd: int, start: int, end: int, mode: int = KEEP_SIZE) -> None:
    """Preallocate blocks without writing them, or punch a hole; the size of the file stays. Raises OSError."""
    if _libc().fallocate(fd, mode, start, min(end, MAX_SIZE) - start):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def punch(fd: int, start: int, end: int) -> None:
    """Take the blocks of a range from a file. Raises OSError."""
    allocate(fd, start, end, KEEP_SIZE | PUNCH_HOLE)
