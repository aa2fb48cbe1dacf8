"""The proxy that tests break shares with: it stalls, drops, and resumes."""

import socket
import threading
from collections.abc import Iterator

import pytest

from lvpack_builder.lab.proxy import Proxy
from lvpack_builder.lab.relay import LOOPBACK


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says what it hears."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve(link: socket.socket) -> None:
        with link:
            while data := link.recv(1000):
                link.sendall(data)

    def accept() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[link], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), timeout=5)


def said(link: socket.socket, text: bytes) -> bytes:
    link.sendall(text)
    return link.recv(1000)


def test_what_is_stalled_comes_through_later(echo: int) -> None:
    with Proxy(echo) as proxy, connected(proxy) as link:
        assert said(link, b"one") == b"one"
        proxy.stall()
        link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            said(link, b"two")
        with connected(proxy) as other:
            other.settimeout(0.3)
            with pytest.raises(TimeoutError):
                said(other, b"three")
        proxy.resume()
        link.settimeout(5)
        assert link.recv(1000) == b"two"


def test_what_is_dropped_is_reset_and_refused_until_it_resumes(echo: int) -> None:
    with Proxy(echo) as proxy:
        with connected(proxy) as link:
            assert said(link, b"one") == b"one"
            proxy.drop()
            with pytest.raises(OSError):
                assert said(link, b"two") == b"", "closed"
                said(link, b"three")
        with pytest.raises(OSError):
            connected(proxy)
        proxy.resume()
        with connected(proxy) as link:
            assert said(link, b"four") == b"four"
