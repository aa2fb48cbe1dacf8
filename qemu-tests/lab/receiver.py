"""A real receiver of notices, for tests: a server of HTTP or HTTPS that keeps what it gets, and broken ones."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab.web import certify
from lvpack_builder.lab.relay import LOOPBACK

# What begins the path of a request, and how it is answered.
STATUSES = {"/broken": 500, "/busy": 503, "/elsewhere": 302, "/locked": 401}
SILENT, SLOW, ENDLESS = "/silent", "/slow", "/endless"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a receiver got; event is the object of a POST, None for a GET."""

    method: str
    path: str
    headers: dict[str, str]
    event: dict[str, Any] | None


@dataclass(slots=True, kw_only=True)
class Receiver:
    """A server, and what it got. ca is the authority of its certificate, in PEM; empty without TLS."""

    port: int
    ca: bytes = b""
    got: list[Request] = field(default_factory=list)

    def wait(self, count: int, seconds: float = 60) -> list[Request]:
        """Return what it got, as soon as that is so much."""
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, self.got
            time.sleep(0.1)
        return self.got


def _handler(receiver: Receiver, over: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            event = json.loads(body) if self.command == "POST" else None
            receiver.got.append(
                Request(method=self.command, path=self.path, headers=dict(self.headers.items()), event=event)
            )
            place = self.path.split("?")[0]
            if place.startswith(SILENT):
                over.wait(60)
                return
            if place.startswith(SLOW):
                for byte in b"HTTP/1.1 200 OK\r\nX-Waits: long":
                    self.wfile.write(bytes([byte]))
                    if over.wait(0.5):
                        return
            while place.startswith(ENDLESS) and not over.is_set():
                self.send_response_only(100)
                self.end_headers()
            status = next((code for name, code in STATUSES.items() if place.startswith(name)), 200)
            # Some servers send back what they were asked for.
            self.send_response(status, f"{self.path} has {status}")
            if status == 302:
                self.send_header("Location", "/moved")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _take

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def receiving(state: Path | None = None, *, days: int = 2, port: int = 0) -> Iterator[Receiver]:
    """Serve on loopback; with a folder for its keys by TLS, by a certificate for so many days, which may be over."""
    receiver, over = Receiver(port=port), threading.Event()
    server = ThreadingHTTPServer((LOOPBACK, port), _handler(receiver, over))
    server.daemon_threads = True
    server.block_on_close = False
    receiver.port = server.server_address[1]
    if state:
        certify(state, "receiver", days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(state / "receiver.pem", state / "receiver.key")
        # Not in accept(): a client that does not greet keeps nobody else waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        receiver.ca = (state / "ca.pem").read_bytes()
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[int]:
    """Yield the port of a server that takes connections, and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]
