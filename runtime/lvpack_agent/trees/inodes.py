"""What XFS stores of a file beside what every filesystem stores: flags, hints and a project.

Facts: ioctl_xfs_fsgetxattr(2), ioctl_xfs_bulkstat(2), the kernel's fs/xfs/libxfs/xfs_fs.h and linux/fs.h.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Literal, NamedTuple

# linux/fs.h: FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, _IOR and _IOW('X', 31 and 32, struct fsxattr of 28 bytes).
_GET, _SET = 0x801C581F, 0x401C5820
# struct fsxattr: flags, extent size hint, extents, project, extent size hint of copies; padding.
_ATTRIBUTES = struct.Struct("=IIIII8x")
# xfs_fs.h: XFS_IOC_BULKSTAT is _IOR('X', 127, struct xfs_bulkstat_req, whose head has 64 bytes).
_BULKSTAT = 0x8040587F
_REQUEST = struct.Struct("=QIIII40x")
# struct xfs_bulkstat: inode, blocks, flags, generation, project, hints (of copies and of files), links, mode.
_INODE = struct.Struct("=Q8xQQ32xI8xI24xIII16xH58x")
_AT_A_TIME = 2000

IMMUTABLE, APPEND, PREALLOC, REALTIME = 0x08, 0x10, 0x02, 0x01
PROJECT_INHERIT, HAS_XATTRS = 0x200, 0x80000000
EXTENT_SIZE, EXTENT_SIZE_INHERIT, COPY_EXTENT_SIZE = 0x800, 0x1000, 0x10000
# Only files with one of these have blocks that were allocated and not written.
MAYBE_UNWRITTEN = PREALLOC | EXTENT_SIZE
# Nobody may change such a file, not even its times or its links.
FIXED = IMMUTABLE | APPEND

Fate = Literal["kept", "made again", "not kept"]


class Flag(NamedTuple):
    """A flag of a file, its letter in the output of xfs_io's lsattr, what becomes of it in a copy, and why."""

    bit: int
    name: str
    letter: str
    fate: Fate
    why: str


# docs/xfs.md has this table; a unit test holds the page against it.
FLAGS = (
    Flag(IMMUTABLE, "immutable", "i", "kept", "set last: nothing of such a file can be changed then"),
    Flag(APPEND, "append-only", "a", "kept", "set last: nothing of such a file can be changed then"),
    Flag(0x20, "sync", "s", "kept", ""),
    Flag(0x40, "noatime", "A", "kept", ""),
    Flag(0x80, "nodump", "d", "kept", "such a file is copied like any other"),
    Flag(0x100, "rtinherit", "t", "kept", "of a directory; it means nothing without a realtime section"),
    Flag(PROJECT_INHERIT, "projinherit", "P", "kept", "of a directory; set when all that is in it has been made"),
    Flag(0x400, "nosymlinks", "n", "kept", "of a directory"),
    Flag(EXTENT_SIZE, "extsize", "e", "kept", "with the hint; of a file, set before its contents"),
    Flag(
        EXTENT_SIZE_INHERIT,
        "extszinherit",
        "E",
        "kept",
        "of a directory, with the hint; set like projinherit",
    ),
    Flag(0x2000, "nodefrag", "f", "kept", ""),
    Flag(0x4000, "filestream", "S", "kept", "of a directory"),
    Flag(0x8000, "dax", "x", "kept", "whether the disk can do it or not"),
    Flag(COPY_EXTENT_SIZE, "cowextsize", "C", "kept", "with the hint"),
    Flag(PREALLOC, "prealloc", "p", "made again", "by fallocate; what it preallocates has this flag, wanted or not"),
    Flag(HAS_XATTRS, "hasattr", "X", "made again", "it says that there are extended attributes"),
    Flag(REALTIME, "realtime", "r", "not kept", "there is no realtime section in what is made anew"),
    Flag(0x20000, "verity", "v", "not kept", "XFS has no fs-verity yet"),
)
_KEPT = sum(flag.bit for flag in FLAGS if flag.fate == "kept")
_MADE = sum(flag.bit for flag in FLAGS if flag.fate == "made again")
_NAMES = {flag.bit: flag.name for flag in FLAGS}


class Attributes(NamedTuple):
    """Flags, the hint of extents' sizes in bytes, project, and the hint for copies (reflink)."""

    flags: int = 0
    hint: int = 0
    project: int = 0
    copies: int = 0

    @property
    def kept(self) -> "Attributes":
        """Those that a copy can be given."""
        return self._replace(flags=self.flags & _KEPT)

    def lost(self, copy: "Attributes") -> list[str]:
        """Return the names of attributes that a copy lacks, or has and should not have."""
        differing = (self.flags ^ copy.flags) & ~_MADE | self.flags & ~copy.flags & PREALLOC
        found = [f"the flag {_NAMES.get(1 << bit, hex(1 << bit))}" for bit in range(32) if differing >> bit & 1]
        for name in ("hint", "copies", "project"):
            if getattr(self, name) != getattr(copy, name):
                found.append(_WORDS[name])
        return found


_WORDS = {"hint": "the hint extsize", "copies": "the hint cowextsize", "project": "the project"}


def attributes(fd: int) -> Attributes:
    """Return the attributes of an open file or directory. Raises OSError."""
    flags, hint, _, project, copies = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET, bytes(_ATTRIBUTES.size)))
    return Attributes(flags, hint, project, copies)


def set_attributes(fd: int, wanted: Attributes) -> None:
    """Give an open file or directory flags, hints and a project. Raises OSError."""
    fcntl.ioctl(fd, _SET, _ATTRIBUTES.pack(wanted.flags, wanted.hint, 0, wanted.project, wanted.copies))


def give(fd: int, wanted: Attributes) -> None:
    """Give a file all wanted attributes or, if the kernel refuses, each one that it takes. Never raises OSError."""
    parts = [wanted._replace(flags=1 << bit, project=0) for bit in range(32) if wanted.flags >> bit & 1]
    parts = [
        part._replace(
            hint=part.hint if part.flags & (EXTENT_SIZE | EXTENT_SIZE_INHERIT) else 0,
            copies=part.copies if part.flags & COPY_EXTENT_SIZE else 0,
        )
        for part in parts
    ]
    have = Attributes()
    for part in (wanted, *parts, Attributes(project=wanted.project)):
        more = Attributes(
            have.flags | part.flags, part.hint or have.hint, part.project or have.project, part.copies or have.copies
        )
        with suppress(OSError):
            set_attributes(fd, more)
            have = more
            if part is wanted:
                return


class Inode(NamedTuple):
    """An inode as XFS lists it; blocks are those in use, copies and hint are in blocks."""

    number: int
    blocks: int
    flags: int
    generation: int
    project: int
    copies: int
    hint: int
    links: int
    mode: int


def inodes(fd: int, first: int = 0, most: int = _AT_A_TIME) -> list[Inode]:
    """Return at most `most` inodes in use, from number first on, of the filesystem of an open file. Raises OSError."""
    buffer = bytearray(_REQUEST.size + most * _INODE.size)
    _REQUEST.pack_into(buffer, 0, first, 0, most, 0, 0)
    fcntl.ioctl(fd, _BULKSTAT, buffer)
    count = _REQUEST.unpack_from(buffer)[3]
    return [Inode(*_INODE.unpack_from(buffer, _REQUEST.size + n * _INODE.size)) for n in range(count)]


def all_inodes(fd: int) -> Iterator[Inode]:
    """Yield all inodes in use of the filesystem that an open file is on. Raises OSError."""
    first = 0
    while found := inodes(fd, first):
        yield from found
        first = found[-1].number + 1


def project(fd: int, number: int) -> int:
    """Return the project of an inode that cannot be opened, such as a symbolic link's. Raises OSError."""
    found = inodes(fd, number, 1)
    return found[0].project if found and found[0].number == number else 0


class _Handle(ctypes.Structure):
    # struct file_handle, with XFS's struct xfs_fid64 without a parent (fs/xfs/xfs_export.h).
    _pack_ = 1
    _fields_ = (
        ("bytes", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("number", ctypes.c_ulonglong),
        ("gen", ctypes.c_uint),
    )


# FILEID_INO32_GEN, XFS_FILEID_TYPE_64FLAG
_BY_NUMBER = 0x81


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def opened(fd: int, inode: Inode) -> int:
    """Open a file for reading by its inode (open_by_handle_at(2)); fd is of the same filesystem. Raises OSError."""
    handle = _Handle(12, _BY_NUMBER, inode.number, inode.generation)
    found: int = _libc().open_by_handle_at(fd, ctypes.byref(handle), os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found
