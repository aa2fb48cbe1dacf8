"""A copied tree of files beside its original: what the copy has lost is given back, and nothing may differ then."""

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.errors import Failed

# linux/fs.h: FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, _IOR and _IOW('X', 31 and 32, struct fsxattr of 28 bytes).
_GET, _SET = 0x801C581F, 0x401C5820
# struct fsxattr: flags, extent size hint, extents, project, extent size hint of copies; padding.
_ATTRIBUTES = struct.Struct("=IIIII8x")
# FS_XFLAG_IMMUTABLE and APPEND: nobody may set times of such a file. HASATTR says that there are xattrs.
_IMMUTABLE, _APPEND, _HAS_XATTRS = 0x08, 0x10, 0x80000000
# How many files are looked at between two ticks.
_BATCH = 1000


class Incomplete(Failed):
    """A copy lacks a file of its original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """All of a file but its contents and the times when it was changed or made."""

    inode: int = field(compare=False)
    mode: int
    owner: int
    group: int
    links: int
    device: int
    size: int
    target: bytes
    times: tuple[int, int]
    xattrs: dict[str, bytes]
    attributes: tuple[int, ...]


def settle(original: Path, copy: Path, tick: Callable[[], None]) -> None:
    """Give the files of a copy the times, xattrs and attributes of the original's.

    Raises Failed if anything differs then, Incomplete if a file is not there. What is in the files is not read.
    """
    links: dict[int, int] = {}
    for number, path in enumerate(_below(os.fsencode(original))):
        theirs, ours = (_read(os.fsencode(root) + path) for root in (original, copy))
        if ours is None:
            raise Incomplete(f"cannot trust a copy: it lacks '{os.fsdecode(path)}'")
        if theirs != ours:
            _give(os.fsencode(copy) + path, theirs, ours)
            ours = _read(os.fsencode(copy) + path)
        same = theirs and ours and theirs == ours and links.setdefault(theirs.inode, ours.inode) == ours.inode
        if not same:
            raise Failed(f"cannot trust the copy of '{os.fsdecode(path) or '/'}': {theirs} became {ours}")
        if number % _BATCH == 0:
            tick()
    count = sum(1 for _ in _below(os.fsencode(copy)))
    if count != number + 1:
        raise Failed(f"cannot trust a copy of {number + 1} files: it has {count}")


def _below(root: bytes) -> Iterator[bytes]:
    """Yield every path of a tree, what is in a directory before itself: "" is the root."""
    waiting: list[tuple[bytes, bool]] = [(b"", False)]
    while waiting:
        path, seen = waiting.pop()
        if seen:
            yield path
            continue
        waiting.append((path, True))
        with os.scandir(root + path) as entries:
            for entry in entries:
                below = path + b"/" + os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((below, False))
                else:
                    yield below


def _read(path: bytes) -> _File | None:
    with suppress(FileNotFoundError):
        info = os.lstat(path)
        plain = stat.S_ISREG(info.st_mode)
        return _File(
            inode=info.st_ino,
            mode=info.st_mode,
            owner=info.st_uid,
            group=info.st_gid,
            links=info.st_nlink,
            device=info.st_rdev,
            size=info.st_size if plain else 0,
            target=os.readlink(path) if stat.S_ISLNK(info.st_mode) else b"",
            times=(info.st_atime_ns, info.st_mtime_ns),
            xattrs={a: os.getxattr(path, a, follow_symlinks=False) for a in os.listxattr(path, follow_symlinks=False)},
            attributes=_attributes(path) if plain or stat.S_ISDIR(info.st_mode) else (),
        )
    return None


def _give(path: bytes, wanted: _File | None, found: _File | None) -> None:
    """Give a file what can be given; what cannot be is found when it is read again."""
    if wanted is None or found is None:
        return
    with suppress(OSError), _changeable(path, found):
        for name in {*wanted.xattrs, *found.xattrs}:
            if name not in wanted.xattrs:
                os.removexattr(path, name, follow_symlinks=False)
            elif wanted.xattrs[name] != found.xattrs.get(name):
                os.setxattr(path, name, wanted.xattrs[name], follow_symlinks=False)
        os.utime(path, ns=wanted.times, follow_symlinks=False)
    if wanted.attributes != found.attributes:
        with suppress(OSError):
            _set_attributes(path, wanted.attributes)


@contextmanager
def _changeable(path: bytes, found: _File) -> Iterator[None]:
    """Take the flags off a file that keep it from being changed, for a while."""
    flags = found.attributes[0] if found.attributes else 0
    if not flags & (_IMMUTABLE | _APPEND):
        yield
        return
    _set_attributes(path, (flags & ~(_IMMUTABLE | _APPEND), *found.attributes[1:]))
    try:
        yield
    finally:
        _set_attributes(path, found.attributes)


def _attributes(path: bytes) -> tuple[int, ...]:
    """Return flags, extent size hint, project, and extent size hint of copies of a file or directory."""
    with _opened(path) as fd:
        flags, hint, _, project, copies = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET, bytes(_ATTRIBUTES.size)))
    return flags & ~_HAS_XATTRS, hint, project, copies


def _set_attributes(path: bytes, attributes: tuple[int, ...]) -> None:
    flags, hint, project, copies = attributes
    with _opened(path) as fd:
        fcntl.ioctl(fd, _SET, _ATTRIBUTES.pack(flags, hint, 0, project, copies))


@contextmanager
def _opened(path: bytes) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
