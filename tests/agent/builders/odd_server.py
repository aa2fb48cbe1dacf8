"""A server of WebDAV and S3 in memory, on loopback, which can be made to do what real ones do once in a year."""

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

DATE = "Sat, 28 Nov 2026 08:00:00 GMT"


class OddServer(ThreadingHTTPServer):
    """before: returns True if it has answered a request itself; loses: True if the answer gets lost.

    files by their paths, folders with a slash at the end. asked is what was asked, method and path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.files: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.upload = ""
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[Request], bool] = lambda request: False
        self.loses: Callable[[Request], bool] = lambda request: False
        self.dates = True

    def handle_error(self, *_: object) -> None:
        """A connection that ended is what is tested."""


@contextmanager
def odd_server() -> Iterator[OddServer]:
    with OddServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Request(BaseHTTPRequestHandler):
    """A request; each method is do()."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: OddServer
    query: Mapping[str, str] = {}
    is_read = False

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.do
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do(self) -> None:
        parts, self.is_read = urlsplit(self.path), self.command in ("GET", "HEAD", "DELETE")
        self.path, self.query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        self.server.asked.append((self.command, self.path))
        if self.server.before(self):
            return
        status, headers, body = self.found()
        if self.server.loses(self):
            self.cut()
            return
        self.answer(status, body, headers)

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        """Answer; length is what is promised of a body that may be shorter: the connection ends then."""
        if not self.is_read:
            self.close_connection = True
        self.send_response(status, "odd")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not headers or "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.cut()

    def cut(self) -> None:
        """End the connection."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def body(self) -> bytes:
        self.is_read = True
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        found = bytearray()
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(found)

    def found(self) -> tuple[int, dict[str, str], bytes]:
        """Do what is asked; return status, headers and text."""
        files, path, body = self.server.files, self.path, self.body()
        dates = {"Last-Modified": DATE} if self.server.dates else {}
        match self.command:
            case "HEAD" if path in files and not path.endswith("/"):
                return 200, {"Content-Length": str(len(files[path])), **dates}, b""
            case "HEAD" if f"{path}/" in files:
                return 301, {"Location": f"{path}/"}, b""
            case "GET" if "list-type" in self.query:
                return 200, {}, self.listed(path + self.query["prefix"])
            case "GET" if path in files:
                first, last = re.findall(r"\d+", self.headers.get("Range", "0-999999999999"))
                part = files[path][int(first) : int(last) + 1]
                return 206 if "Range" in self.headers else 200, dates, part
            case "PUT" if "partNumber" in self.query:
                if self.query["uploadId"] != self.server.upload:
                    return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
                self.server.parts[int(self.query["partNumber"])] = body
                return 200, {"ETag": '"x"'}, b""
            case "PUT" if "x-amz-copy-source" in self.headers:
                files[path] = files[unquote(self.headers["x-amz-copy-source"])]
                return 200, {}, b"<CopyObjectResult/>"
            case "PUT" if self.headers.get("If-None-Match") and path in files:
                return 412, {}, b""
            case "PUT":
                files[path] = body
                return 201, {}, b""
            case "POST" if "uploads" in self.query:
                self.server.upload = f"u{len(self.server.asked)}"
                return 200, {}, f"<R><UploadId>{self.server.upload}</UploadId></R>".encode()
            case "POST":
                if self.query["uploadId"] != self.server.upload:
                    return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
                files[path] = b"".join(part for _, part in sorted(self.server.parts.items()))
                self.server.upload, self.server.parts = "", {}
                return 200, {}, b"<R><ETag>x</ETag></R>"
            case "DELETE" if "uploadId" in self.query:
                self.server.upload = ""
                return 204, {}, b""
            case "DELETE" if path in files:
                for name in [n for n in files if n == path or (path.endswith("/") and n.startswith(path))]:
                    del files[name]
                return 204, {}, b""
            case "MKCOL":
                if path in files:
                    return 405, {}, b""
                files[path] = b""
                return 201, {}, b""
            case "MOVE" if path in files:
                to = unquote(urlsplit(self.headers["Destination"]).path)
                for name in [n for n in files if n.startswith(path)]:
                    files[to + name.removeprefix(path)] = files.pop(name)
                return 201, {}, b""
            case "PROPFIND" if path in files:
                names = {path + re.split("(?<=/)", n.removeprefix(path))[0] for n in files if n.startswith(path)}
                hrefs = "".join(f"<response><href>{name}</href></response>" for name in sorted({path, *names}))
                return 207, {}, f'<multistatus xmlns="DAV:">{hrefs}</multistatus>'.encode()
        return 404, {}, b""

    def listed(self, prefix: str) -> bytes:
        bucket = self.path
        below = sorted(n.removeprefix(bucket) for n in self.server.files if n.startswith(prefix))
        keys = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in below)
        return f"<R>{keys}</R>".encode()
