"""Room on a share: what is a warning, what is refused, and that no answer of a server stops a run."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.sshd import USER, sshd
from lab.web import PASSWORD, web
from lab.web import USER as WEB_USER
from lvpack_agent import places
from lvpack_agent.backup import room
from lvpack_agent.errors import Refused
from lvpack_agent.session import Session
from lvpack_agent.shares import http, sftp
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import GIB, MIB
from lvpack_builder.lab.nfs import limited_folder
from tests.agent.builders.shares import access

as_root = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts and networks are root's"),
]


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Share):
    """A share that says that it has room for so many bytes."""

    left: int | None = field(default=None)

    def room(self) -> int | None:
        return self.left


def told(left: int | None, device: str = "") -> Share:
    return Told(name="nfs://h/e", folder=Path("/nowhere"), left=left, device=device)


@pytest.mark.parametrize("left", [None, GIB, GIB + 1])
@pytest.mark.parametrize("is_exact", [True, False])
@pytest.mark.parametrize("device", ["", "/dev/sdb1"])
def test_what_fits_or_is_not_known_is_not_spoken_of(left: int | None, is_exact: bool, device: str) -> None:
    assert room.doubt(told(left, device), GIB, GIB // 2, is_exact=is_exact) == ""


def test_what_may_not_fit_is_a_warning() -> None:
    for device in ("", "/dev/sdb1"):
        said = room.doubt(told(GIB - 1, device), GIB, 900 * MIB, is_exact=False)
        assert "may not fit" in said and "up to 1.00 GiB, for 900 MiB of data" in said and "The run goes on" in said
    assert "room for 0 B, as it says" in room.doubt(told(0), GIB, 1, is_exact=True), "a server stops no run"


def test_what_cannot_fit_on_a_disk_of_this_machine_is_refused() -> None:
    with pytest.raises(Refused, match=r"its images take 2\.00 GiB, and there is room for 1\.00 GiB") as refused:
        room.doubt(told(GIB, "/dev/sdb1"), 2 * GIB, GIB, is_exact=True)
    assert "free 1.00 GiB there" in refused.value.hint


def test_a_mounted_share_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    share = Share(name="nfs://h/e", folder=tmp_path)
    assert share.room() == pytest.approx(found.f_bavail * found.f_frsize, rel=0.1)
    nothing = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: nothing)
    assert share.room() is None
    assert Share(name="nfs://h/e", folder=tmp_path / "gone").room() is None


class _Answers(BaseHTTPRequestHandler):
    """A web server that answers each PROPFIND with what the server has as its body; "" breaks the connection."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_PROPFIND(self) -> None:
        body: bytes = self.server.body  # type: ignore[attr-defined]
        self.server.asked += 1  # type: ignore[attr-defined]
        if not body:
            self.close_connection = True
            return
        self.send_response(207)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(body: str) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.body, server.asked = body.encode(), 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


_PROPERTY = (
    '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>/sets/</d:href><d:propstat><d:prop>'
    "<d:quota-available-bytes>{}</d:quota-available-bytes></d:prop><d:status>HTTP/1.1 {}</d:status></d:propstat>"
    "</d:response></d:multistatus>"
)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (_PROPERTY.format("8388608", "200 OK"), 8 * MIB),
        (_PROPERTY.format("\n  0 ", "200 OK"), 0),
        (_PROPERTY.format("", "404 Not Found"), None),
        (_PROPERTY.format("-3", "200 OK"), None),
        (_PROPERTY.format("9" * 5000, "200 OK"), None),
        (_PROPERTY.format("plenty", "200 OK"), None),
        ("<multistatus/>", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_web_server_tells_or_not(body: str, left: int | None, tmp_path: Path) -> None:
    with answering(body) as server:
        url = parse_url(f"http://127.0.0.1:{server.server_port}/sets")
        session = Session(action="backup", out=print)
        with http.opened(url, tmp_path / "new", access(patience=0), session) as share:
            assert share.room() == left
            assert server.asked <= 2  # type: ignore[attr-defined]


class TestRealServers:
    pytestmark = as_root

    def test_by_sftp(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with sshd() as server, limited_folder(server.folder / "small", 8 * MIB) as small:
            small.chmod(0o777)
            secrets = {"ssh-key": server.key, "known-hosts": server.known_hosts()}
            url = parse_url(f"sftp://{USER}@127.0.0.1:{server.port}/sets/small")
            session = Session(action="backup", out=print)
            with sftp.opened(url, tmp_path / "new", access(secrets=secrets), session) as share:
                assert share.room() == 8 * MIB
                (small / "file").write_bytes(bytes(3 * MIB))
                assert share.room() == 5 * MIB
                assert "has room for 5.00 MiB" in room.doubt(share, 6 * MIB, MIB, is_exact=True)
                monkeypatch.setattr(sftp, "_STATVFS", "another@example.com")
                assert share.room() is None

    @pytest.mark.parametrize("kind", ["nginx", "apache"])
    def test_by_servers_that_do_not_tell(self, kind: str, tmp_path: Path) -> None:
        with web(kind) as server:
            secrets = {"http": f"{WEB_USER}:{PASSWORD}".encode(), "ca": server.ca}
            url = parse_url(f"https://127.0.0.1:{server.port}/sets")
            session = Session(action="backup", out=print)
            with http.opened(url, tmp_path / "new", access(secrets=secrets), session) as share:
                assert share.room() is None and share.names() == []
