"""Files where others may write, such as on a share, opened so that nobody is fooled.

No link is followed, nothing but a regular file is opened (opening a FIFO may wait for ever, opening a device may do
anything), nothing is read without end, and nothing that exists is written through (open(2): O_NOFOLLOW, O_NONBLOCK,
O_EXCL). What is wrong with a file is an OSError whose strerror says it.
"""

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_AT_ONCE = 1 << 20
AGAIN_SECONDS = 0.2

T = TypeVar("T")


class Odd(OSError):
    """What stands under a name is not what may stand there."""


def passes(error: OSError) -> bool:
    """Return whether an error says that the same shall be asked again (EAGAIN)."""
    return isinstance(error, BlockingIOError)


def patiently(action: Callable[[], T | None], again: Callable[[OSError], bool] = passes) -> T:
    """Return what an action on a file returns, done again as long as its error is one that passes, or it returns None.

    Python's files return None for EAGAIN. The kernel's cifs gives that, though nothing is asked not to block, while it
    goes on with a server that was started anew.
    """
    while True:
        try:
            if (found := action()) is not None:
                return found
        except OSError as error:
            if not again(error):
                raise
        time.sleep(AGAIN_SECONDS)


def opened(
    path: Path,
    limit: int | None = None,
    *,
    top: Path | None = None,
    follow: bool = False,
    again: Callable[[OSError], bool] = passes,
) -> int:
    """Return a descriptor that reads a regular file of at most limit bytes. Raises OSError, Odd for anything else.

    No folder between top (by default the file's own folder) and the file is a link, nor is the file, unless follow.
    again: see patiently().
    """
    return patiently(lambda: _opened(path, limit, top, follow), again)


def _opened(path: Path, limit: int | None, top: Path | None, follow: bool) -> int:
    with _folder_of(path, top) as folder:
        # Looked at before, since opening a device can do something; and after, as it may be another file by then.
        _check(os.stat(path.name, dir_fd=folder, follow_symlinks=follow), path, limit)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        fd = os.open(path.name, flags, dir_fd=folder)
    try:
        _check(os.fstat(fd), path, limit)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_bytes(path: Path, limit: int, *, top: Path | None = None, follow: bool = False) -> bytes:
    """Return what a file holds, at most limit bytes. Raises OSError."""
    fd = opened(path, limit, top=top, follow=follow)
    try:
        found = bytearray()
        while data := patiently(lambda: os.read(fd, _AT_ONCE)):
            found += data
            if len(found) > limit:  # it grows
                raise too_large(path, len(found), limit)
        return bytes(found)
    finally:
        os.close(fd)


def read_json(path: Path, limit: int, *, follow: bool = False) -> Any:
    """Return what a file of JSON holds. Raises OSError; ValueError if it is not JSON, or nested deeper than ours is."""
    return json_of(read_bytes(path, limit, follow=follow))


def json_of(data: bytes) -> Any:
    """Return what JSON holds. Raises ValueError if it is not JSON, or nested deeper than ours is."""
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_object(path: Path, limit: int, *, follow: bool = False) -> dict[str, Any]:
    """Return the JSON object in a file. Raises as read_json() does, ValueError also if it is something else."""
    return object_of(read_json(path, limit, follow=follow))


def object_of(data: Any) -> dict[str, Any]:
    """Return JSON that is an object. Raises ValueError if it is something else."""
    if not isinstance(data, dict):
        raise ValueError("it is not an object")
    return data


def create(path: Path, *, mode: int | None = None, top: Path | None = None) -> int:
    """Return a descriptor that writes a new file. Raises FileExistsError if anything has its name, OSError.

    mode: its permissions; by default the owner may read and write it, and the group read it if it may read the folder.
    Folders that are missing between top and the file are made likewise; none of them is a link.
    """
    with _folder_of(path, top, make=True) as folder:
        access = mode or (0o640 if _group_reads(folder) else 0o600)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path.name, flags, access, dir_fd=folder)
        if access & stat.S_IRGRP:
            _like(fd, folder)
    return fd


def write(
    path: Path, data: bytes, *, mode: int | None = None, top: Path | None = None, limit: int | None = None
) -> None:
    """Write a new file, as create() makes it, and sync it. Raises OSError, Odd if data has more than limit bytes.

    What has its name already, such as what a power cut has left, is removed before: a link, and not what it leads to.
    """
    if limit is not None and len(data) > limit:
        raise too_large(path, len(data), limit)
    with suppress(FileNotFoundError), _folder_of(path, top) as folder:
        os.unlink(path.name, dir_fd=folder)
    fd = create(path, mode=mode, top=top)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def wipe(path: Path) -> None:
    """Write zeros over a file in memory, whose pages else keep what was in them, and remove it. A link is removed."""
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(fd, bytes(os.fstat(fd).st_size))
        finally:
            os.close(fd)
    path.unlink(missing_ok=True)


def wipe_folder(folder: Path) -> None:
    """Wipe the files in a folder in memory, and remove it, if it is there. What cannot be removed stays."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            with suppress(OSError):
                wipe(path)
        folder.rmdir()


def make_folder(path: Path, mode: int) -> None:
    """Make a folder with these permissions; a group that may read it is that of the folder above, where that can be.

    Raises FileExistsError if anything has its name, OSError.
    """
    path.mkdir(mode)
    if mode & stat.S_IRGRP:
        with _opened_folder(path, os.O_NOFOLLOW) as made, _opened_folder(path.parent) as above:
            _like(made, above)


def keep_private(folder: Path) -> None:
    """Let nobody but its owner into a folder that is there already. Raises OSError, Odd if it is a link."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Odd(errno.ENOTDIR, f"it is {kind(found.st_mode)}, not a folder", str(folder))
    if stat.S_IMODE(found.st_mode) & 0o077:
        with _opened_folder(folder, os.O_NOFOLLOW) as fd, suppress(PermissionError):
            # O_PATH descriptors take no fchmod (open(2)).
            Path(f"/proc/self/fd/{fd}").chmod(0o700)


@contextmanager
def _opened_folder(path: Path, flags: int = 0) -> Iterator[int]:
    fd = os.open(path, _FOLDER | flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _folder_of(path: Path, top: Path | None, *, make: bool = False) -> Iterator[int]:
    """Yield a descriptor of the folder that a file is in."""
    top = top or path.parent
    fd = os.open(top, _FOLDER)
    try:
        for part in path.parent.relative_to(top).parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o750 if _group_reads(fd) else 0o700, dir_fd=fd)
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
            if make and _group_reads(fd):
                _like(below, fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _group_reads(folder: int) -> bool:
    return bool(os.fstat(folder).st_mode & stat.S_IRGRP)


def _like(fd: int, folder: int) -> None:
    """Give a file or folder the group of a folder, if this process may."""
    group = os.fstat(folder).st_gid
    if os.fstat(fd).st_gid != group:
        with suppress(OSError):
            os.chown(f"/proc/self/fd/{fd}", -1, group)


def _check(found: os.stat_result, path: Path, limit: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Odd(errno.EINVAL, f"it is {kind(found.st_mode)}, not a file", str(path))
    if limit is not None and found.st_size > limit:
        raise too_large(path, found.st_size, limit)


def kind(mode: int) -> str:
    """Return what a file is by its mode (stat(2)), in words: "a link"."""
    return next((what for test, what in _KINDS if test(mode)), "something else")


def too_large(path: Path, size: int, limit: int) -> Odd:
    """Return the error of a file that has more bytes than it may."""
    return Odd(errno.EFBIG, f"it has {size:,} bytes, and no such file has more than {limit:,}", str(path))
