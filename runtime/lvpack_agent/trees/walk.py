"""Trees of files by open folders: no path is too long, and no symbolic link is followed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC
# What open(2) takes of a path at a time (PATH_MAX has 4096, with a NUL), in whole names of 255 bytes at most.
_MOST = 3800
# Extended attributes that say who may do what (acl(5), capabilities(7)).
_RIGHTS = ("system.posix_acl_access", "system.posix_acl_default", "security.selinux", "security.capability")
# Entries of a folder that are sorted at a time.
_ENTRIES = 50_000


@contextmanager
def opened(root: int, path: str, flags: int = FOLDER) -> Iterator[int]:
    """Open what is at a path below an open folder; "" is the folder itself, all others begin with a slash."""
    names = path[1:].encode(errors="surrogateescape")
    at = root
    while len(names) > _MOST:
        cut = names.rindex(b"/", 0, _MOST)
        above, at = at, os.open(names[:cut], FOLDER, dir_fd=at)
        if above != root:
            os.close(above)
        names = names[cut + 1 :]
    try:
        fd = os.open(names or b".", flags, dir_fd=at)
    finally:
        if at != root:
            os.close(at)
    try:
        yield fd
    finally:
        os.close(fd)


def entries(folder: int) -> "Iterator[os.DirEntry[str]]":
    """Yield what is in an open folder, sorted by inode as far as memory allows: in that order they lie on the disk."""
    with os.scandir(folder) as found:
        while some := list(islice(found, _ENTRIES)):
            yield from sorted(some, key=os.DirEntry.inode)


def shown(path: str) -> str:
    """Return a path for people, on one line and in characters that can be printed, whatever bytes are in its names."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path) or "/"


def place(folder: int, name: str) -> str:
    """Return a path to a name in an open folder, for calls that take no open folder."""
    return f"/proc/self/fd/{folder}/{name}"


class Xattrs(NamedTuple):
    """Extended attributes by name, and whether these are all that there are."""

    values: dict[str, bytes]
    all: bool


def xattrs(where: int | str) -> Xattrs:
    """Return the extended attributes, of all namespaces, of an open file or of a path itself.

    What cannot be read is left out. Where the kernel does not list them, as when their names are more than 64 KiB
    together (listxattr(2)), those that say who may do what are asked for by name.
    """
    follow = isinstance(where, int)
    try:
        names, complete = os.listxattr(where, follow_symlinks=follow), True
    except OSError:
        names, complete = list(_RIGHTS), False
    values = {}
    for name in names:
        try:
            values[name] = os.getxattr(where, name, follow_symlinks=follow)
        except OSError:
            complete = False
    return Xattrs(values, complete)
