"""Reading a disk itself, sector by sector, past the kernel's cache, which reads whole pages and ahead."""

import mmap
import os
from types import TracebackType
from typing import Self

# One read at most.
MOST = 64 * 1024


class DirectReader:
    """An open device or file that is read by O_DIRECT where its filesystem has that. Raises OSError as that does."""

    def __init__(self, path: str) -> None:
        self._buffer = mmap.mmap(-1, MOST)  # at the begin of a page, as O_DIRECT wants it (open(2))
        flags = os.O_RDONLY | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags | os.O_DIRECT)
        except OSError:
            self._fd = os.open(path, flags)

    def read(self, at: int, count: int) -> bytes:
        """Return count bytes (whole sectors, MOST at most) from byte at on; fewer only at the end of the device."""
        with memoryview(self._buffer)[:count] as view:
            return bytes(view[: os.preadv(self._fd, [view], at)])

    def reads(self, at: int, count: int) -> bool:
        """Return whether these bytes can be read, all of them."""
        try:
            return len(self.read(at, count)) == count
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._fd)
        self._buffer.close()
