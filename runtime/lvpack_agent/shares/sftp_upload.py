"""A new file at a server of SFTP: many pieces of it are under way at a time.

What the server has not confirmed is sent again by a new connection, from where the file ends that is there.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lvpack_agent.shares import sftp_wire as wire
from lvpack_agent.shares.remote_file import Look
from lvpack_agent.shares.sftp_wire import CHUNK, WINDOW, Wire, handle_of, numbers, offset, permissions, string
from lvpack_agent.shares.waiting import Gone

_FSYNC, _STATVFS = "fsync@openssh.com", "fstatvfs@openssh.com"


class Client(Protocol):
    """What a file needs of its client (sftp.Sftp)."""

    def connected(self) -> Wire: ...

    def asks(self) -> None: ...

    def lost(self) -> None: ...

    def look(self, name: str) -> Look: ...

    def new(self, name: str, action: Callable[[Wire], object], is_done: Callable[[], bool]) -> None: ...


class Upload:
    """A new file that is written, many pieces at a time; what was not confirmed is sent again by a new connection."""

    def __init__(self, client: Client, path: bytes, name: str) -> None:
        self._client, self._path, self._name = client, path, name
        self._rest, self._end = bytearray(), 0
        # What is not confirmed yet: where it is, what, and the number of its request.
        self._open: deque[tuple[int, bytes]] = deque()
        self._asked: deque[int] = deque()
        self._handle: bytes | None = None
        # One that is empty, after an answer was lost, is the one that was asked for: it is opened again.
        client.new(name, self._create, lambda: client.look(name).size == 0)

    def _create(self, w: Wire) -> None:
        flags = wire.FOR_WRITING | wire.NEW | wire.EXCLUSIVE
        self._handle = handle_of(w.ask(wire.OPEN, self._path, numbers(flags), permissions(0o600)))

    def write(self, data: bytes | bytearray) -> None:
        """Write what comes next. Raises OSError as the server says."""
        self._rest += data
        whole = len(self._rest) // CHUNK * CHUNK
        for at in range(0, whole, CHUNK):
            self._put(bytes(self._rest[at : at + CHUNK]))
        del self._rest[:whole]

    def finish(self) -> None:
        """Wait until all is at the server, on its disk if it can say so. Raises OSError if it has another length."""
        if self._rest:
            self._put(bytes(self._rest))
        self._until(0)
        self._persist(self._close)
        if (found := self._client.look(self._name).size) != self._end:
            raise OSError(errno.EIO, f"it has {found:,} bytes at the server, and {self._end:,} were written")

    def _put(self, data: bytes) -> None:
        self._open.append((self._end, data))
        self._end += len(data)
        self._until(WINDOW)

    def _until(self, open_ones: int) -> None:
        """Send all, and wait until no more pieces than that are not confirmed."""

        def step(w: Wire) -> None:
            assert self._handle is not None
            for at, data in list(self._open)[len(self._asked) :]:
                self._asked.append(w.send(wire.WRITE, self._handle, offset(at), string(data)))
            while len(self._open) > open_ones:
                _written(w, self._handle, w.answer, self._asked[0])
                self._asked.popleft()
                self._open.popleft()

        self._persist(step)

    def _close(self, w: Wire) -> None:
        assert self._handle is not None
        if _FSYNC in w.extensions:
            w.ask(wire.EXTENDED, string(_FSYNC), self._handle)
        w.ask(wire.CLOSE, self._handle)

    def _persist(self, action: Callable[[Wire], None]) -> None:
        self._client.asks()
        while True:
            try:
                w = self._client.connected()
                if self._handle is None:
                    self._again(w)
                action(w)
                return
            except Gone:
                self._handle = None
                self._asked.clear()
                self._client.lost()

    def _again(self, w: Wire) -> None:
        """Open the file where it was left. Raises OSError if the server has lost what it had confirmed."""
        _, rest = w.ask(wire.LSTAT, self._path)
        confirmed = self._open[0][0] if self._open else self._end
        if (found := rest.attributes()).size < confirmed or not stat.S_ISREG(found.mode):
            raise OSError(errno.EIO, f"the server had {confirmed:,} bytes, and has {found.size:,} now")
        self._handle = handle_of(w.ask(wire.OPEN, self._path, numbers(wire.FOR_WRITING, 0)))


def _written(w: Wire, handle: bytes, answer: Callable[[int], object], request: int) -> None:
    """Wait for the answer to a write. "Failure" is all that version 3 has for a full disk; OpenSSH tells its room."""
    try:
        answer(request)
    except OSError as error:
        if error.errno == errno.EIO and _STATVFS in w.extensions:
            _, rest = w.ask(wire.EXTENDED, string(_STATVFS), handle)
            left = wire.room_of(rest)
            if left is not None and left < WINDOW * CHUNK:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
