"""A proxy on the way to a server of HTTP: it makes a tunnel for TLS (CONNECT), and is given whole URLs without TLS.

RFC 9110, 9.3.6 and 11.7; RFC 9112, 3.2.2. tinyproxy was tried.
"""

import base64
import http.client
import socket
import ssl
from urllib.parse import urlsplit

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.printable import printable
from lvpack_agent.shares.share import Access, Secrets
from lvpack_agent.shares.waiting import Gone


class Proxy:
    """A proxy by its URL, http://HOST:PORT, and what lets us through: secret `proxy`, looked for when it wants it."""

    def __init__(self, url: str, secrets: Secrets) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self._secrets, self._credentials = secrets, ""

    def __str__(self) -> str:
        return _address(self.host, self.port)

    @property
    def is_known(self) -> bool:
        """Whether it has asked who we are, and is told."""
        return bool(self._credentials)

    def headers(self) -> dict[str, str]:
        """Return what a request to the proxy has that no server behind it is to see."""
        return {"Proxy-Authorization": self._credentials} if self._credentials else {}

    def introduce(self) -> None:
        """Find what lets us through, as the proxy wants it. Raises Refused if it is nowhere, or not fit."""
        text = self._secrets.need("proxy", f"what lets us through proxy {self}")
        if b":" not in text:
            raise Refused("cannot use secret 'proxy': it has no colon", hint="it is USER:PASSWORD")
        self._credentials = f"Basic {base64.b64encode(text).decode()}"

    def refused(self, status: int, reason: str) -> Failed:
        """Return the error of a proxy that does not let us through."""
        if status in (401, 407):  # the former is what tinyproxy says of a password that is wrong
            return Failed(
                f"cannot log in at proxy {self}: {status} {printable(reason)}",
                hint="check secret 'proxy' (USER:PASSWORD); of the ways to log in, lvpack knows Basic",
            )
        return Failed(
            f"cannot pass proxy {self}: {status} {printable(reason)}",
            hint="let it pass CONNECT to that host and port, or name another one (lvpack.share=proxy=http://HOST:PORT)",
        )

    def tunnel(self, host: str, port: int, seconds: float | None) -> socket.socket:
        """Return a connection to a server through the proxy; each step may take so many seconds.

        Raises OSError or HTTPException if the proxy is away, Gone if the server is, Failed if it lets nobody through.
        """
        while True:
            connection = socket.create_connection((self.host, self.port), seconds)
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                to = _address(host, port)
                headers = {"Host": to, "User-Agent": "lvpack", **self.headers()}
                lines = [f"CONNECT {to} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
                connection.sendall("\r\n".join(lines).encode("ascii"))
                # A server of TLS says nothing before it is spoken to: nothing of it can be read with that answer.
                answer = http.client.HTTPResponse(connection, method="CONNECT")
                answer.begin()
                answer.close()
            except BaseException:
                connection.close()
                raise
            if 200 <= answer.status < 300:
                return connection
            connection.close()
            if answer.status == 407 and not self.is_known:
                self.introduce()
            elif answer.status >= 500:
                raise Gone(f"proxy {self} says: {answer.status} {printable(answer.reason)}")
            else:
                raise self.refused(answer.status, answer.reason)


class Tunneled(http.client.HTTPSConnection):
    """A connection by TLS through a proxy. It is made anew through the proxy, too."""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext, proxy: Proxy) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._proxy, self._tls, self._seconds = proxy, context, timeout

    def connect(self) -> None:
        """Connect; TLS is spoken with the server, and the proxy sees nothing of it."""
        connection = self._proxy.tunnel(self.host, self.port, self._seconds)
        try:
            self.sock = self._tls.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise


def named_by(access: Access) -> Proxy | None:
    """Return the proxy that lvpack.share names; None if it names none."""
    return Proxy(access.options.proxy, access.secrets) if access.options.proxy else None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
