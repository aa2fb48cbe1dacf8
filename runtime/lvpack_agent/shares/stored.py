"""Files of image sets as they are read and written, wherever they are: on a mounted share, or at a server."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from lvpack_agent import guarded, pipes
from lvpack_agent.sizes import MIB

# Takes what is to be written next.
Sink = Callable[[bytes | bytearray], object]


class Stored(Protocol):
    """A regular file that is read; what is wrong with it is an OSError whose strerror says it."""

    @property
    def name(self) -> str:
        """Its last name."""
        ...

    def size(self) -> int:
        """Return how many bytes it has. Raises FileNotFoundError, Odd if it is no file, OSError."""
        ...

    def read(self, at: int, count: int) -> bytes:
        """Return count bytes from byte at on, fewer at its end. Raises OSError."""
        ...

    def blocks(self) -> Generator[bytes]:
        """Yield it block by block, as it is stored, and not from this machine's cache. Raises Failed."""
        ...


class Source(Protocol):
    """Finds files by their paths. None has more than limit bytes; no folder between top and it is a link."""

    def __call__(self, path: Path, limit: int | None = None, top: Path | None = None) -> Stored: ...


class LocalFile:
    """A file on a disk or a mounted share, opened as guarded.opened() does; none above limit bytes is.

    again: which errors pass (guarded.patiently).
    """

    def __init__(
        self,
        path: Path,
        limit: int | None = None,
        top: Path | None = None,
        again: Callable[[OSError], bool] = guarded.passes,
    ) -> None:
        self._path, self._limit, self._top, self._again = path, limit, top, again

    def _opened(self) -> int:
        return guarded.opened(self._path, self._limit, top=self._top, again=self._again)

    @property
    def name(self) -> str:
        """Its last name."""
        return self._path.name

    def size(self) -> int:
        """Return how many bytes it has. Raises OSError."""
        fd = self._opened()
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def read(self, at: int, count: int) -> bytes:
        """Return count bytes from byte at on, fewer at its end. Raises OSError."""
        found = bytearray()
        fd = self._opened()
        try:
            while len(found) < count:
                block = min(count - len(found), pipes.BLOCK)
                if not (data := guarded.patiently(partial(os.pread, fd, block, at + len(found)), self._again)):
                    break
                found += data
        finally:
            os.close(fd)
        return bytes(found)

    def blocks(self) -> Generator[bytes]:
        """Yield it block by block. Raises Failed."""
        return pipes.file_blocks(self._path, self._limit, top=self._top, again=self._again)


def local(path: Path, limit: int | None = None, top: Path | None = None) -> Stored:
    """Return a file on a disk or a mounted share: the Source of what is there."""
    return LocalFile(path, limit, top)


def whole(stored: Stored, limit: int) -> bytes:
    """Return what a file holds, at most limit bytes. Raises OSError."""
    data = stored.read(0, limit + 1)
    if len(data) > limit:
        raise guarded.too_large(Path(stored.name), stored.size(), limit)
    return data


@contextmanager
def new_file(path: Path, again: Callable[[OSError], bool], *, at_once: bool = False) -> Iterator[Sink]:
    """Yield what writes a new file on a mounted share; it is on the server's disk at the end. Raises FileExistsError.

    again: which errors pass. at_once: the kernel keeps little of it back.
    """
    with os.fdopen(guarded.patiently(partial(guarded.create, path), again), "wb", buffering=0) as file:
        at = begun = 0

        def sink(data: bytes | bytearray) -> None:
            nonlocal at, begun
            rest = memoryview(data)
            while rest:
                count = guarded.patiently(partial(os.pwrite, file.fileno(), rest, at), again)
                rest, at = rest[count:], at + count
            if at_once and at - begun >= MIB:
                # Else it gathers data for half a minute, or until memory is short, and sends all as fast as it can.
                # This begins to write, and waits for nothing (kernel: mm/fadvise.c).
                os.posix_fadvise(file.fileno(), begun, at - begun, os.POSIX_FADV_DONTNEED)
                begun = at

        yield sink
        guarded.patiently(partial(_synced, file.fileno()), again)


def _synced(fd: int) -> bool:
    os.fsync(fd)
    return True
