"""What a server of SFTP has: names in a folder, and a range of a file."""

import errno
from collections import deque
from collections.abc import Callable, Generator

from lvpack_agent.shares import sftp_wire as wire
from lvpack_agent.shares.sftp_wire import CHUNK, WINDOW, Broken, Wire, handle_of, numbers, offset


def names(w: Wire, path: bytes) -> list[str]:
    """Return the names in a folder. Raises OSError."""
    handle = handle_of(w.ask(wire.OPENDIR, path))
    found = []
    while True:
        kind, rest = w.ask(wire.READDIR, handle)
        if kind != wire.NAME:
            break
        for _ in range(rest.number()):
            found.append(rest.text())
            rest.text(), rest.attributes()
    w.ask(wire.CLOSE, handle)
    return [name for name in found if name not in (".", "..") and "/" not in name]


def pieces(w: Wire, path: bytes, at: int, end: int, asks: Callable[[], object]) -> Generator[bytes]:
    """Yield a range of a file as it comes, many pieces of it under way at a time. Raises OSError.

    asks is called when the next piece is asked for: what was done with the one before may have taken long.
    """
    handle = handle_of(w.ask(wire.OPEN, path, numbers(wire.FOR_READING, 0)))
    asked: deque[tuple[int, int, int]] = deque()
    while at < end or asked:
        while at < end and len(asked) < WINDOW:
            count = min(CHUNK, end - at)
            asked.append((w.send(wire.READ, handle, offset(at), numbers(count)), at, count))
            at += count
        request, start, count = asked.popleft()
        while count:
            kind, rest = w.answer(request)
            if kind != wire.DATA:
                raise OSError(errno.EIO, f"it ends at byte {start:,}, and has become shorter")
            data = rest.data()
            if not 0 < len(data) <= count:
                raise Broken(f"{len(data)} bytes where {count} were asked for")
            yield data
            asks()
            start, count = start + len(data), count - len(data)
            if count:  # it may send less than was asked for
                request = w.send(wire.READ, handle, offset(start), numbers(count))
    w.ask(wire.CLOSE, handle)
