"""How what is long goes over a connection of HTTP: slice by slice, so that a slow link is no silent server."""

import errno
import fcntl
import http.client
import io
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from typing import cast

from lvpack_agent.shares.rate import Rate

Body = bytes | bytearray
# So much has the time that a connection gives to each step: a slow link takes minutes for a part of an image.
SLICE = 64 * 1024


def slices(body: Body, rate: Rate | None, sent: Callable[[], object]) -> Iterator[Body]:
    """Yield what of a body is sent at a time, as fast as a rate lets it; sent is called before each."""
    parts = rate.slices(body) if rate else (body[at : at + SLICE] for at in range(0, len(body), SLICE))
    for part in parts:
        sent()
        yield part


def send(to: socket.socket, data: Body, waits: Callable[[], object], sent: Callable[[], object]) -> None:
    """Send data over a connection that has a timeout. Raises OSError.

    waits is called whenever the server has taken nothing for that time, sent when it has taken some.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[to.send(rest[:SLICE]) :]
        except TimeoutError:
            waits()
        else:
            sent()


class Waited(io.RawIOBase):
    """What a server says over a connection that has a timeout, for http.client.HTTPResponse, which has no second try.

    waits is called whenever the server has said nothing for that time.
    """

    def __init__(self, of: socket.socket, waits: Callable[[], object]) -> None:
        self._socket, self._waits = of, waits
        # While somebody has such a file, the connection stays, though http.client closes it.
        self._held = of.makefile("rb", buffering=0)

    def makefile(self, _: str) -> io.BufferedReader:
        """Return a file, as socket.makefile() does."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what has come, as io.RawIOBase.readinto() does. Raises OSError."""
        while True:
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError:
                self._waits()

    def close(self) -> None:
        """Let go of the connection."""
        super().close()
        self._held.close()


def answer(of: socket.socket, method: str | None, waits: Callable[[], object]) -> http.client.HTTPResponse:
    """Return what will be the answer to a request, which is waited for as Waited does."""
    return http.client.HTTPResponse(cast(socket.socket, Waited(of, waits)), method=method)


def answer_to_long(of: socket.socket, method: str | None = None) -> http.client.HTTPResponse:
    """Return what will be the answer to a long request: the kernel may have MiB of it left to send.

    The timeout of the connection begins anew as long as it becomes less (tcp(7), SIOCOUTQ).
    """
    left = _unsent(of)

    def waits() -> None:
        nonlocal left
        before, left = left, _unsent(of)
        if left >= before:
            raise TimeoutError(errno.ETIMEDOUT, "the server does not answer")

    return answer(of, method, waits)


def _unsent(of: socket.socket) -> int:
    number = bytearray(struct.calcsize("i"))
    fcntl.ioctl(of.fileno(), termios.TIOCOUTQ, number)
    return int(struct.unpack("i", number)[0])
