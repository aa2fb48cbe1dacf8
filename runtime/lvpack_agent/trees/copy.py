"""A tree of files on XFS, copied to another XFS: contents, holes, preallocated and shared blocks, and all attributes.

Folders are copied by several processes, each folder by one. Files that share blocks only get a name then; their
contents follow in one process, which knows who shares what. An attribute that a copy cannot be given is left out
silently: a comparison afterwards finds that.

It is one class, and longer than most modules here: all of it works on the same two trees, and keeps what is known of
shared blocks between them.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field

from lvpack_agent.errors import Failed
from lvpack_agent.sizes import round_down
from lvpack_agent.trees import extents, inodes
from lvpack_agent.trees.extents import Allocation, Extent
from lvpack_agent.trees.inodes import Attributes
from lvpack_agent.trees.sharing import Sharing
from lvpack_agent.trees.walk import FILE, FOLDER, entries, opened, place, shown, xattrs

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SCRATCH = ".lvpack-links-5b0f1c9e"


def scratch_of(old: str) -> str:
    """Return the name of a folder for the root of a copy; nothing in the root of the original has that name.

    In it files with several names have one more, their inode's number in the original, until all names are made.
    Anybody may take a name where the root is for everybody, as at /tmp.
    """
    number = 0
    while os.path.lexists(os.path.join(old, f"{_SCRATCH}-{number}")):
        number += 1
    return f"{_SCRATCH}-{number}"


@dataclass(slots=True)
class Copied:
    """What is left to do after a folder was copied.

    folders: those in it. shared: files that share blocks and so far have a name only. fixed: files that get the flags
    which forbid every change when all their names are made.
    """

    folders: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    fixed: list[tuple[str, Attributes]] = field(default_factory=list)


class Copier:
    """Copies folders of one tree to those of another, which must exist; the folders in them are made, still empty."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = os.open(old, FOLDER), os.open(new, FOLDER)
        self._scratch = f"/{scratch_of(old)}"
        self._buffer = bytearray(extents.BUFFER)
        self._block = os.fstatvfs(self._new).f_frsize
        self._sharing: Sharing[str] = Sharing()

    def close(self) -> None:
        """Close both trees, so that they can be unmounted."""
        os.close(self._old)
        os.close(self._new)

    def folder(self, path: str) -> Copied:
        """Copy what is in a folder, but not what its folders hold; return what is left to do.

        Raises Failed if anything cannot be read or written.
        """
        done = Copied()
        at = path
        try:
            with opened(self._old, path) as source, opened(self._new, path) as target:
                for entry in entries(source):
                    at = f"{path}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        os.mkdir(entry.name, 0o700, dir_fd=target)
                        done.folders.append(at)
                    elif entry.is_file(follow_symlinks=False):
                        self._file(at, entry.name, source, target, done)
                    else:
                        self._special(entry.name, source, target)
                at = path
                if path:
                    _finish(source, target, os.fstat(source), inodes.attributes(source))
        except OSError as error:
            raise _failed(at, error) from error
        return done

    def share(self, path: str) -> None:
        """Give a file that shares blocks its contents; it has a name already. Blocks of earlier files are shared."""
        try:
            with opened(self._old, path, FILE) as source, opened(self._new, path, os.O_RDWR | os.O_NOFOLLOW) as target:
                info, wanted = os.fstat(source), inodes.attributes(source)
                self._contents(source, target, info, wanted, extents.of_file(source), path)
                # A clone of a whole file has got its hint as well (xfs_reflink.c, xfs_reflink_update_dest()).
                inodes.give(target, wanted.kept._replace(flags=wanted.kept.flags & ~inodes.FIXED))
                _finish(source, target, info, wanted)
        except OSError as error:
            raise _failed(path, error) from error

    def finish(self, path: str, wanted: Attributes | None = None) -> None:
        """Give a folder all its attributes, or a file the flags with which it could not have been linked."""
        try:
            with opened(self._old, path, FILE) as source, opened(self._new, path, FILE) as target:
                if wanted:
                    inodes.give(target, wanted)
                else:
                    _finish(source, target, os.fstat(source), inodes.attributes(source))
        except OSError as error:
            raise _failed(path, error) from error

    def _file(self, path: str, name: str, source: int, target: int, done: Copied) -> None:
        fd = os.open(name, FILE, dir_fd=source)
        try:
            info = os.fstat(fd)
            links = info.st_nlink > 1
            if links and self._linked(info, name, target):
                return
            out = os.open(name, _NEW, stat.S_IMODE(info.st_mode), dir_fd=target)
            try:
                if links and not self._named(info, name, target):
                    return
                found = extents.of_file(fd) if info.st_blocks else []
                if any(extent.shared for extent in found):
                    done.shared.append(path)
                    return
                wanted = inodes.attributes(fd)
                self._contents(fd, out, info, wanted, found)
                if links and wanted.flags & inodes.FIXED:
                    done.fixed.append((path, wanted.kept))
                    wanted = wanted._replace(flags=wanted.flags & ~inodes.FIXED)
                _finish(fd, out, info, wanted)
            finally:
                os.close(out)
        finally:
            os.close(fd)

    def _linked(self, info: os.stat_result, name: str, target: int) -> bool:
        """Return whether a file with several names was there under one of them, and has got this one."""
        with suppress(FileNotFoundError), opened(self._new, self._scratch) as scratch:
            os.link(str(info.st_ino), name, src_dir_fd=scratch, dst_dir_fd=target, follow_symlinks=False)
            return True
        return False

    def _named(self, info: os.stat_result, name: str, target: int) -> bool:
        """Return whether a new file is the first of several names; else another process was quicker with it."""
        with opened(self._new, self._scratch) as scratch:
            try:
                os.link(name, str(info.st_ino), src_dir_fd=target, dst_dir_fd=scratch, follow_symlinks=False)
            except FileExistsError:
                os.unlink(name, dir_fd=target)
                os.link(str(info.st_ino), name, src_dir_fd=scratch, dst_dir_fd=target, follow_symlinks=False)
                return False
        return True

    def _contents(
        self, source: int, target: int, info: os.stat_result, wanted: Attributes, found: list[Extent], path: str = ""
    ) -> None:
        """Give a new file its size and blocks; path is that of one that shares some."""
        size = info.st_size
        if wanted.hint and wanted.flags & inodes.EXTENT_SIZE:
            # Not changed any more once there are blocks (xfs_ioctl.c, xfs_ioctl_setattr_check_extsize()).
            inodes.give(target, Attributes(flags=inodes.EXTENT_SIZE, hint=wanted.hint))
        if size:
            # First, so that the kernel preallocates nothing beyond the end.
            os.ftruncate(target, size)
        clones = []
        for extent in found:
            if extent.written and not extent.shared:
                extents.copy(source, target, extent.start, min(extent.end, size), self._buffer)
            elif extent.written:
                clones += self._own(source, target, extent, size, path)
        for at, count, holder, offset in clones:
            self._clone(source, target, at, min(count, size - at), holder, offset)
        if wanted.flags & inodes.PREALLOC or wanted.hint or any(not extent.written for extent in found):
            self._preallocate(target, wanted, found, size)

    def _own(self, source: int, target: int, extent: Extent, size: int, path: str) -> list[tuple[int, int, str, int]]:
        """Copy what no file before had of a shared extent; return the rest: where, bytes, whose, and where there."""
        rest = []
        for known in list(self._sharing.look_up(extent.physical, extent.physical + extent.end - extent.start)):
            at = extent.start + known.start - extent.physical
            count = known.end - known.start
            if known.where is None:
                extents.copy(source, target, at, min(at + count, size), self._buffer)
                self._sharing.add(known.start, known.end, path, at)
            else:
                rest.append((at, count, known.where, known.offset))
        return rest

    def _clone(self, source: int, target: int, at: int, count: int, holder: str, offset: int) -> None:
        """Let a file share blocks of another's copy; what the kernel does not share is copied."""
        with opened(self._new, holder, FILE) as fd:
            # Where both end at the same byte of a block they share that too; else only whole blocks.
            for part in (count, round_down(count, self._block)):
                try:
                    if part:
                        extents.clone(fd, offset, part, target, at)
                    break
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.ENOSPC):
                        raise
            else:
                part = 0
        extents.copy(source, target, at + part, at + count, self._buffer)

    def _preallocate(self, target: int, wanted: Attributes, found: list[Extent], size: int) -> None:
        """Give a file, whose data are written, the blocks that are not, and no others."""
        parts = extents.allocations(found, size, self._block, bool(wanted.flags & inodes.PREALLOC))
        have = [part for part in parts if part.written]
        if wanted.hint:
            have = self._blocks(target, size)
        for start, end in extents.minus(parts, have):
            extents.allocate(target, start, end)
        if wanted.hint:
            # The kernel has allocated whole multiples of it.
            for start, end in extents.minus(self._blocks(target, size), parts):
                extents.punch(target, start, end)
        if wanted.flags & inodes.PREALLOC and not inodes.attributes(target).flags & inodes.PREALLOC:
            # To allocate what is there does nothing else than to set it.
            start = parts[0].start if parts else 0
            extents.allocate(target, start, start + 1)
            if not parts:
                extents.punch(target, 0, self._block)

    def _blocks(self, target: int, size: int) -> list[Allocation]:
        """Return what a file that was written has, on the device."""
        os.fsync(target)
        return extents.allocations(extents.of_file(target), size, self._block, True)

    def _special(self, name: str, source: int, target: int) -> None:
        """Make a link, device, socket or FIFO."""
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if info.st_nlink > 1 and self._linked(info, name, target):
            return
        # Nobody can open it to give it a project: it inherits that of its folder, which gets its own later.
        if project := inodes.project(source, info.st_ino):
            inodes.set_attributes(target, Attributes(flags=inodes.PROJECT_INHERIT, project=project))
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        if project:
            inodes.set_attributes(target, Attributes())
        if info.st_nlink > 1 and not self._named(info, name, target):
            return
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
        for key, value in xattrs(place(source, name)).values.items():
            with suppress(OSError):
                os.setxattr(place(target, name), key, value, follow_symlinks=False)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _finish(source: int, target: int, info: os.stat_result, wanted: Attributes) -> None:
    """Give an open file or folder its owner, mode, extended attributes, times and, at last, flags."""
    if info.st_uid or info.st_gid:
        os.fchown(target, info.st_uid, info.st_gid)
    if os.fstat(target).st_mode != info.st_mode:
        os.fchmod(target, stat.S_IMODE(info.st_mode))
    if wanted.flags & inodes.HAS_XATTRS:
        for key, value in xattrs(source).values.items():
            with suppress(OSError):
                os.setxattr(target, key, value)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    if wanted.kept != Attributes():
        inodes.give(target, wanted.kept)


def _failed(path: str, error: OSError) -> Failed:
    hint = "shrink less with a larger lvpack.margin" if error.errno == errno.ENOSPC else ""
    return Failed(f"cannot copy '{shown(path)}': {error.strerror}", hint=hint)
