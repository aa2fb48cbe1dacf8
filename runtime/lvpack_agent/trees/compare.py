"""A copied tree of files compared with its original: names, types, contents, blocks, sharing and all attributes."""

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress

from lvpack_agent.errors import Failed
from lvpack_agent.trees import extents, inodes
from lvpack_agent.trees.differences import Compared
from lvpack_agent.trees.extents import Extent
from lvpack_agent.trees.inodes import Attributes
from lvpack_agent.trees.sharing import Sharing
from lvpack_agent.trees.walk import FILE, FOLDER, entries, opened, place, shown, xattrs

# How many extended attributes of a file are named.
_NAMES = 3
_TYPES = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


class Comparer:
    """Compares folders of two trees; without contents the data of files are not read."""

    def __init__(self, old: str, new: str, contents: bool) -> None:
        self._old, self._new = os.open(old, FOLDER), os.open(new, FOLDER)
        self._contents = contents
        self._block = os.fstatvfs(self._new).f_frsize
        # Where in the copy the shared blocks of the original are, in bytes.
        self._sharing: Sharing[bool] = Sharing()
        # Files with several names that were compared.
        self._seen: set[int] = set()

    def close(self) -> None:
        """Close both trees, so that they can be unmounted."""
        os.close(self._old)
        os.close(self._new)

    def folder(self, path: str) -> Compared:
        """Compare a folder with what is in it, but not what its folders hold. Raises Failed if it cannot be read."""
        done = Compared()
        at = path
        try:
            with opened(self._old, path) as old, opened(self._new, path) as new:
                count = 0
                for entry in entries(old):
                    at = f"{path}/{entry.name}"
                    count += self._entry(at, entry.name, old, new, done)
                if sum(1 for _ in entries(new)) != count:
                    for entry in entries(new):
                        if not _state(entry.name, old):
                            done.wrong(f"{path}/{entry.name}", "is new")
                at = path
                if not path:  # all others have a name in a folder, and were compared there
                    self._states(path, os.fstat(old), os.fstat(new), done)
                self._attributes(path, old, new, done)
        except OSError as error:
            raise _failed(at, error) from error
        return done

    def share(self, path: str) -> Compared:
        """Compare a file that shares blocks; contents that two files share are read for the first only."""
        done = Compared()
        try:
            with opened(self._old, path, FILE) as old, opened(self._new, path, FILE) as new:
                found = extents.of_file(old), extents.of_file(new)
                self._blocks(path, (old, new), os.fstat(old), inodes.attributes(old), found, done)
        except OSError as error:
            raise _failed(path, error) from error
        return done

    def _entry(self, path: str, name: str, old: int, new: int, done: Compared) -> bool:
        """Compare what has a name, and return whether the copy has it."""
        was, now = os.stat(name, dir_fd=old, follow_symlinks=False), _state(name, new)
        if not now:
            done.wrong(path, "is missing")
            return False
        if self._states(path, was, now, done):
            self._inode(path, name, (old, new), (was, now), done)
        return True

    def _inode(
        self,
        path: str,
        name: str,
        folders: tuple[int, int],
        states: tuple[os.stat_result, os.stat_result],
        done: Compared,
    ) -> None:
        (old, new), (was, now) = folders, states
        if stat.S_ISDIR(was.st_mode):
            done.folders.append(path)
            return
        if was.st_nlink > 1:
            done.links.append((was.st_ino, now.st_ino, path))
            if was.st_ino in self._seen:
                return
            self._seen.add(was.st_ino)
        if not stat.S_ISREG(was.st_mode):
            if stat.S_ISLNK(was.st_mode) and os.readlink(name, dir_fd=old) != os.readlink(name, dir_fd=new):
                done.wrong(path, "points elsewhere")
            if inodes.project(old, was.st_ino) != inodes.project(new, now.st_ino):
                done.differs(path, "the project")
            self._xattrs(path, place(old, name), place(new, name), done)
            return
        fds = [os.open(name, FILE, dir_fd=folder) for folder in (old, new)]
        try:
            wanted = self._attributes(path, fds[0], fds[1], done)
            found = [extents.of_file(fd) if info.st_blocks else [] for fd, info in zip(fds, (was, now), strict=True)]
            if any(extent.shared for part in found for extent in part):
                done.shared.append(path)
            else:
                self._blocks(path, (fds[0], fds[1]), was, wanted, (found[0], found[1]), done)
        finally:
            for fd in fds:
                os.close(fd)

    def _states(self, path: str, was: os.stat_result, now: os.stat_result, done: Compared) -> bool:
        """Compare what stat(2) tells; return whether both are of one type and size."""
        kind, became = stat.S_IFMT(was.st_mode), stat.S_IFMT(now.st_mode)
        if kind != became:
            done.wrong(path, f"is {_TYPES.get(became, 'something else')}, not {_TYPES.get(kind, 'something else')}")
            return False
        if kind != stat.S_IFLNK and was.st_mode != now.st_mode:
            done.wrong(path, f"has mode {now.st_mode & 0o7777:o}, not {was.st_mode & 0o7777:o}")
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            done.wrong(path, f"is {now.st_uid}:{now.st_gid}'s, not {was.st_uid}:{was.st_gid}'s")
        if was.st_nlink != now.st_nlink:
            done.wrong(path, f"has {now.st_nlink} links, not {was.st_nlink}")
        if kind in (stat.S_IFCHR, stat.S_IFBLK) and was.st_rdev != now.st_rdev:
            done.wrong(path, "is another device")
        if kind == stat.S_IFREG and was.st_size != now.st_size:
            done.wrong(path, f"has {now.st_size:,} bytes, not {was.st_size:,}")
        if was.st_mtime_ns != now.st_mtime_ns:
            done.differs(path, "the time of modification")
        if was.st_atime_ns != now.st_atime_ns:
            done.differs(path, "the time of access")
        return kind != stat.S_IFREG or was.st_size == now.st_size

    def _attributes(self, path: str, old: int, new: int, done: Compared) -> Attributes:
        wanted, found = inodes.attributes(old), inodes.attributes(new)
        for what in wanted.lost(found):
            done.differs(path, what)
        if (wanted.flags | found.flags) & inodes.HAS_XATTRS:
            self._xattrs(path, old, new, done)
        return wanted

    def _xattrs(self, path: str, old: int | str, new: int | str, done: Compared) -> None:
        wanted, found = xattrs(old), xattrs(new)
        if not wanted.all:
            done.differs(path, "the extended attributes, not all of which can be read")
        if wanted.values != found.values:
            names = {*wanted.values, *(found.values if wanted.all else ())}
            # Each name would be a warning of its own.
            for name in sorted(n for n in names if wanted.values.get(n) != found.values.get(n))[:_NAMES]:
                done.differs(path, f"the extended attribute {name}")

    def _blocks(
        self,
        path: str,
        fds: tuple[int, int],
        info: os.stat_result,
        wanted: Attributes,
        found: tuple[list[Extent], list[Extent]],
        done: Compared,
    ) -> None:
        """Compare the kinds of a file's blocks, who shares them, and the contents."""
        beyond = bool(wanted.flags & inodes.PREALLOC)
        old, new = (extents.allocations(part, info.st_size, self._block, beyond) for part in found)
        if old != new:
            done.differs(path, "holes and preallocated blocks")
        ranges = [(part.start, part.end) for part in old if part.written]
        if any(extent.shared for part in found for extent in part):
            ranges, unshared = self._shared(*found)
            if unshared:
                done.differs(path, "sharing of blocks with other files")
        if not self._contents:
            return
        ranges += extents.minus([part for part in new if part.written], [part for part in old if part.written])
        for start, end in ranges:
            at = extents.first_difference(*fds, start, min(end, info.st_size))
            if at is not None:
                done.wrong(path, f"has other contents from byte {at:,} on")
                return

    def _shared(self, old: list[Extent], new: list[Extent]) -> tuple[list[tuple[int, int]], int]:
        """Return the ranges of a file whose contents nobody has compared, and how many bytes lost their sharing."""
        ranges: list[tuple[int, int]] = []
        unshared = 0
        for extent in old:
            if not extent.written:
                continue
            if not extent.shared:
                ranges.append((extent.start, extent.end))
                unshared += sum(p.end - p.start for p in _within(new, extent.start, extent.end) if p.shared)
                continue
            for part in _within(new, extent.start, extent.end):
                physical = extent.physical + part.start - extent.start
                for known in list(self._sharing.look_up(physical, physical + part.end - part.start)):
                    at = part.start + known.start - physical
                    there = part.physical + known.start - physical
                    if not part.shared or (known.where and known.offset != there):
                        unshared += known.end - known.start
                    elif known.where:
                        continue
                    else:
                        self._sharing.add(known.start, known.end, True, there)
                    ranges.append((at, at + known.end - known.start))
            lacking = extents.minus(
                [extents.Allocation(extent.start, extent.end, True)],
                [extents.Allocation(e.start, e.end, True) for e in _within(new, extent.start, extent.end)],
            )
            unshared += sum(end - start for start, end in lacking)
            ranges += lacking
        return ranges, unshared


def _state(name: str, folder: int) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _within(found: Sequence[Extent], start: int, end: int) -> list[Extent]:
    """Return the parts of extents, which are in order, that are in a range."""
    parts = []
    for index in range(max(0, bisect_right(found, start, key=_start) - 1), len(found)):
        extent = found[index]
        if extent.start >= end:
            break
        first, last = max(extent.start, start), min(extent.end, end)
        if first < last:
            parts.append(extent._replace(start=first, end=last, physical=extent.physical + first - extent.start))
    return parts


def _start(extent: Extent) -> int:
    return extent.start


def _failed(path: str, error: OSError) -> Failed:
    return Failed(f"cannot compare '{shown(path)}' with its copy: {error.strerror}")
