"""A new file at a server of HTTP: a PUT of unknown length, by a connection of its own (RFC 9112, 7.1: chunked)."""

import errno
import http.client
from contextlib import suppress

from lvpack_agent.shares import http_wire
from lvpack_agent.shares.http_send import Body, answer, send
from lvpack_agent.shares.http_wire import Http
from lvpack_agent.shares.waiting import Gone, Waiting

_END = b"0\r\n\r\n"
# So often it is looked at how long the server has been silent.
LOOK_SECONDS = 1.0


class Upload:
    """A file that is written in order. waiting says how long the server may take nothing, and say nothing at the end.

    Raises Gone if there is no connection: nothing was sent yet.
    """

    def __init__(self, server: Http, path: str, waiting: Waiting) -> None:
        self._server, self._waiting, self.size = server, waiting, 0
        self._connection = server.connection(http_wire.ANSWER_SECONDS)
        try:
            self._connection.putrequest("PUT", server.target(path), skip_accept_encoding=True)
            headers = {**server.headers(), "Transfer-Encoding": "chunked", "If-None-Match": "*"}
            for name, value in headers.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
            self._connection.sock.settimeout(LOOK_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise server.gone(error) from None

    def write(self, data: Body) -> None:
        """Write what comes next. Raises OSError, Failed if the server is given up."""
        if not data:
            return
        self._waiting.asks()
        self._send(b"%x\r\n" % len(data) + data + b"\r\n")
        self.size += len(data)

    def finish(self) -> None:
        """Wait until the server has all. Raises OSError as it says."""
        self._waiting.asks()
        self._send(_END)
        self._answer(None)

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(OSError):
            self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            send(self._connection.sock, data, self._waiting.waits, self._waiting.answered)
        except OSError as error:
            # It may have said why before it closed the connection.
            self._answer(error)

    def _answer(self, broken: OSError | None) -> None:
        try:
            response = answer(self._connection.sock, "PUT", self._waiting.waits)
            response.begin()
        except (OSError, http.client.HTTPException) as error:
            raise _ended(broken or error) from None
        self._waiting.answered()
        if response.status >= 300:
            refusal = self._server.refusal(response.status, response.reason)
            raise _ended(refusal) if isinstance(refusal, Gone) else refusal
        if broken:
            raise _ended(broken)


def _ended(error: Exception) -> OSError:
    cause = getattr(error, "strerror", None) or str(error)
    return OSError(errno.EIO, f"the connection has ended, and an upload by HTTP cannot be gone on with: {cause}")
