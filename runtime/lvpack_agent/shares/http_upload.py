"""A new file at a server of HTTP: a PUT of unknown length, by a connection of its own (RFC 9112, 7.1: chunked)."""

import errno
import http.client
from contextlib import suppress

from lvpack_agent.shares.http_wire import Http
from lvpack_agent.shares.waiting import Gone

_END = b"0\r\n\r\n"
LEAST_SECONDS = 30.0


class Upload:
    """A file that is written in order. patience in seconds: for so long the server may take nothing."""

    def __init__(self, server: Http, path: str, patience: float) -> None:
        self._server, self.size = server, 0
        try:
            self._connection = server.connection(max(patience, LEAST_SECONDS))
            self._connection.putrequest("PUT", server.target(path), skip_accept_encoding=True)
            headers = {**server.headers(), "Transfer-Encoding": "chunked", "If-None-Match": "*"}
            for name, value in headers.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
        except (OSError, http.client.HTTPException) as error:
            raise server.gone(error) from None

    def write(self, data: bytes | bytearray) -> None:
        """Write what comes next. Raises OSError."""
        if not data:
            return
        self._send(b"%x\r\n" % len(data) + data + b"\r\n")
        self.size += len(data)

    def finish(self) -> None:
        """Wait until the server has all. Raises OSError as it says."""
        self._send(_END)
        self._answer(None)

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(OSError):
            self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send(data)
        except OSError as error:
            # It may have said why before it closed the connection.
            self._answer(error)

    def _answer(self, broken: OSError | None) -> None:
        try:
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _ended(broken or error) from None
        if response.status >= 300:
            refusal = self._server.refusal(response.status, response.reason)
            raise _ended(refusal) if isinstance(refusal, Gone) else refusal
        if broken:
            raise _ended(broken)


def _ended(error: Exception) -> OSError:
    cause = getattr(error, "strerror", None) or str(error)
    return OSError(errno.EIO, f"the connection has ended, and an upload by HTTP cannot be gone on with: {cause}")
