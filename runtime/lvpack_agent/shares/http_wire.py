"""HTTP requests to one server, by Python's own client: credentials, redirects that stay there, errors as OSError."""

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar
from urllib.parse import quote

from lvpack_agent.printable import printable
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares.http_login import credentials, refused
from lvpack_agent.shares.http_send import SLICE, Body, answer_to_long, slices
from lvpack_agent.shares.http_words import ERRORS, SAFE, Answer, led
from lvpack_agent.shares.proxy import Proxy, Tunneled
from lvpack_agent.shares.rate import Rate
from lvpack_agent.shares.server_clock import MachineClock, is_of_dates, told
from lvpack_agent.shares.share import Secrets
from lvpack_agent.shares.tls import distrust
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Gone

# So long a server may take for an answer; then the connection is made anew.
ANSWER_SECONDS = 30.0
REDIRECTS = 5
# So much of an answer that nobody wants is read, so that its connection can be kept.
DRAINED = 64 * 1024
# What says that a connection that was kept is good for nothing any more.
_STALE = (ConnectionError, http.client.RemoteDisconnected, http.client.ImproperConnectionState)


class Http:
    """A server, and what lets us in there. Connections are made as they are needed; one is kept.

    repeats counts the requests that were sent again since a connection that was kept had ended. sent is called as what
    a long request has with it goes to the server.
    """

    # What passes by itself: a proxy whose server is away, a server that is busy (RFC 9110, 15.6).
    passing: ClassVar[tuple[int, ...]] = (502, 503, 504)
    errors: ClassVar[Mapping[int, int]] = ERRORS

    def __init__(
        self,
        url: ShareUrl,
        secrets: Secrets,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None = None,
        rate: Rate | None = None,
        clock: MachineClock | None = None,
    ) -> None:
        """rate: how fast what requests have with them is sent."""
        self._clock = clock
        self.url, self._secrets, self._tls, self._proxy, self._rate = url, secrets, tls, proxy, rate
        self._credentials, self.repeats = "", 0
        self.sent: Callable[[], object] = lambda: None
        self._kept: http.client.HTTPConnection | None = None

    def path(self, name: str, *, folder: bool = False) -> str:
        """Return the path of a name below the share's folder, as it stands in a request."""
        path = f"{self.url.path.rstrip('/')}/{name}".rstrip("/")
        return quote(path, safe=SAFE) + ("/" if folder or not path else "")

    def absolute(self, path: str) -> str:
        """Return a path as a whole URL, as MOVE wants it."""
        return f"{self.url.scheme}://{self._host()}{path}"

    def target(self, path: str) -> str:
        """Return what stands in a request for a path: a proxy without a tunnel has to be told the server, too."""
        return self.absolute(path) if self._proxy and not self._tls else path

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Body = b"", most: int = 0
    ) -> Answer:
        """Send a request, and return the answer with at most so many bytes of its text. A HEAD follows no redirect.

        Raises OSError for a status that is an error, Gone if the server is away, Refused if it is not believed.
        """
        with_body = {"Content-Length": str(len(body))} if body or method == "PUT" else {}
        response = self._response(method, path, {**(headers or {}), **with_body}, body)
        text = self._read(response, most) if most and method != "HEAD" else b""
        # What is left of the answer stands in the way of the next one.
        if not response.isclosed() and (response.length is None or response.length > DRAINED):
            self.drop()
        else:
            self._read(response, None)
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=text,
        )

    def stream(self, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a GET, and return the answer, which is to be read to its end. Raises as ask() does."""
        return self._response("GET", path, headers, b"")

    def _read(self, response: http.client.HTTPResponse, most: int | None) -> bytes:
        promised = response.length
        try:
            data = response.read(most)
            # Where it is asked for so many bytes, http.client takes fewer for all that there are.
            if most is not None and promised is not None and len(data) < min(most, promised):
                raise http.client.IncompleteRead(data, promised - len(data))
            return data
        except (OSError, http.client.HTTPException) as error:
            self.drop()
            raise Gone(str(error)) from None
        except BaseException:
            self.drop()
            raise

    def _response(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> http.client.HTTPResponse:
        for _ in range(REDIRECTS):
            response = self.once(method, path, headers, body)
            if response.status == 401 and not self.is_known:
                self.drop()
                self._credentials = credentials(self.url, self._secrets, self._proxy, self._host())
                continue
            if response.status == 407 and self._proxy and not self._tls and not self._proxy.is_known:
                self.drop()
                self._proxy.introduce()
                continue
            to = response.headers.get("Location", "")
            if method != "GET" or response.status not in (301, 302, 303, 307, 308) or not to:
                self._check(method, response)
                return response
            self.drop()
            path = self.led(path, to)
        raise OSError(errno.ELOOP, f"the server leads to another place more than {REDIRECTS} times")

    @property
    def is_known(self) -> bool:
        """Whether requests say who we are already."""
        return bool(self._credentials)

    def led(self, path: str, to: str) -> str:
        """Return the path that a redirect leads to. Raises OSError if that is at another server."""
        return led(self.absolute(path), to)

    def once(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> http.client.HTTPResponse:
        """Send a request, and return the answer whatever its status is. Raises Gone, Refused."""
        fresh = self._kept is None
        try:
            connection = self._kept = self._kept or self.connection(ANSWER_SECONDS)
            whole = self.signed(method, path, {**self.headers(), **headers}, body)
            is_long = len(body) > (0 if self._rate else SLICE)
            sliced = slices(body, self._rate, self.sent) if is_long else body
            connection.response_class = answer_to_long if is_long else http.client.HTTPResponse  # type: ignore[assignment]
            connection.request(method, self.target(path), sliced or None, whole)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.drop()
            # One that was kept may have been closed by the server meanwhile (RFC 9112, 9.5).
            if not fresh and isinstance(error, _STALE):
                self.repeats += 1
                return self.once(method, path, headers, body)
            raise self.gone(error) from None
        except BaseException:  # such as Ended, in the middle of an answer: the next one would be out of step
            self.drop()
            raise

    def connection(self, seconds: float) -> http.client.HTTPConnection:
        """Return a new connection; each step of it may take so many seconds. Raises Gone, Refused."""
        made: http.client.HTTPConnection
        port = self.url.port or SCHEMES[self.url.scheme].port
        if self._tls and self._proxy:
            made = Tunneled(self.url.host, port, timeout=seconds, context=self._tls, proxy=self._proxy)
        elif self._proxy:
            made = http.client.HTTPConnection(self._proxy.host, self._proxy.port, timeout=seconds)
        elif self._tls:
            made = http.client.HTTPSConnection(self.url.host, port, timeout=seconds, context=self._tls)
        else:
            made = http.client.HTTPConnection(self.url.host, port, timeout=seconds)
        try:
            made.connect()
        except (OSError, http.client.HTTPException) as error:
            if self._clock and isinstance(error, ssl.SSLCertVerificationError) and is_of_dates(error):
                self._clock.judge(error, self._host(), told(self._plain, self.url.host))
                return self.connection(seconds)
            raise self.gone(error) from None
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _plain(self, seconds: float) -> socket.socket:
        host, port = self.url.host, self.url.port or SCHEMES[self.url.scheme].port
        return (
            self._proxy.tunnel(host, port, seconds) if self._proxy else socket.create_connection((host, port), seconds)
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that each request has."""
        own = {"User-Agent": "lvpack", "Accept-Encoding": "identity"}
        if self._proxy and not self._tls:
            own |= self._proxy.headers()
        return {**own, "Authorization": self._credentials} if self._credentials else own

    def signed(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> dict[str, str]:
        """Return the headers of a request; another kind of server has them signed."""
        return dict(headers)

    def gone(self, error: Exception) -> Exception:
        """Return what an error of a connection is: Gone, unless the next one would end alike."""
        if isinstance(error, ssl.SSLError) and (found := distrust(error, self._host())):
            return found
        return Gone(str(error))

    def drop(self) -> None:
        """Close the connection that is kept."""
        if self._kept:
            with suppress(OSError):
                self._kept.close()
        self._kept = None

    def _check(self, method: str, response: http.client.HTTPResponse) -> None:
        if response.status < 300 or (method == "HEAD" and response.status < 400):
            return
        self.drop()
        raise self.refusal(response.status, response.reason)

    def refusal(self, status: int, reason: str) -> Exception:
        """Return the error of a status that is one."""
        if status in self.passing:
            return Gone(f"{status} {printable(reason)}")
        if status == 407 and self._proxy:
            return self._proxy.refused(status, reason)
        if status in (401, 407):
            return refused(self._host(), status, reason)
        if status in self.errors:
            return OSError(self.errors[status], os.strerror(self.errors[status]))
        return OSError(errno.EIO, f"the server says: {status} {printable(reason)}")

    def _host(self) -> str:
        host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
        return f"{host}:{self.url.port}" if self.url.port else host
