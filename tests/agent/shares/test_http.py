"""Shares by HTTP, with real servers: WebDAV by nginx and Apache, plain files, and who is not believed or not let in."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest

from lab.web import PASSWORD, USER, Web, certify, web
from lvpack_agent import places
from lvpack_agent.errors import Ended, Failed, LvpackError, Refused
from lvpack_agent.image import check, files
from lvpack_agent.image.write import Writer, refuse_taken
from lvpack_agent.session import Session
from lvpack_agent.shares import http
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import MIB
from tests.agent.builders.remote import begin_a_set_that_fails, write_and_read, write_one_name_twice
from tests.agent.builders.sets import SET, manifest, write_set, write_set_to
from tests.agent.builders.shares import access

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own is root's"),
]
LETS_IN = f"{USER}:{PASSWORD}".encode()


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWAY", "LEAVES", "LOG"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())


@pytest.fixture(scope="module", params=["nginx", "apache"])
def each(request: pytest.FixtureRequest) -> Iterator[Web]:
    with web(request.param) as made:
        yield made


@pytest.fixture
def server(each: Web) -> Web:
    for path in sorted(each.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return each


class Opened(ExitStack):
    """A share, and what its session has said; secrets are those that there are, beside the usual ones."""

    def __init__(
        self,
        server: Web,
        folder: Path,
        *,
        patience: float = 60,
        path: str = "/sets",
        scheme: str = "https",
        host: str = "127.0.0.1",
        secrets: dict[str, bytes] | None = None,
    ) -> None:
        super().__init__()
        self.said: list[str] = []
        self.session = Session(action="backup", out=self.said.append)
        url = parse_url(f"{scheme}://{host}:{server.port}{path}")
        known = {"http": LETS_IN, "ca": server.ca} if secrets is None else secrets
        how = access(patience=patience, secrets=known)
        self.share: RemoteShare = self.enter_context(http.opened(url, folder / "new", how, self.session))


def test_a_set_is_written_read_and_gets_its_name_at_the_end(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
        assert one.share.names() == [SET]
        with pytest.raises(Refused, match="it exists on the share"):
            refuse_taken(one.share, SET)
        assert one.share.modified(one.share.folder / SET / files.MANIFEST) == pytest.approx(time.time(), abs=60)
        assert one.share.now() == pytest.approx(time.time(), abs=60)
        assert one.share.names() == [SET], "nothing else is left"
        one.share.write(one.share.folder / ".beside", b"old", 0o600)
        one.share.replace(one.share.folder / ".beside", one.share.folder / "log")
        one.share.write(one.share.folder / ".beside", b"new", 0o600)
        one.share.replace(one.share.folder / ".beside", one.share.folder / "log")
        assert one.share.text("log", 10) == b"new"
    assert (server.folder / SET / "layout/plan.txt").read_text() == "plan\n"
    assert check.check_set(server.folder / SET, print) == manifest()


def test_a_set_that_fails_leaves_nothing(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        begin_a_set_that_fails(one.share)
    assert list(server.folder.iterdir()) == []


def test_two_writers_of_one_name(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one, Opened(server, tmp_path / "other") as other:
        write_one_name_twice(one.share, other.share, server.folder / SET)
    assert [path.name for path in server.folder.iterdir()] == [SET]


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 17])
def test_what_was_written_is_read(server: Web, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with Opened(server, tmp_path) as one:
        write_and_read(one.share, data)
    assert (server.folder / "file").read_bytes() == data


def interrupt(server: Web) -> None:
    server.kill()
    time.sleep(3)
    server.start()


def test_reading_goes_on_when_the_server_is_back(server: Web, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(24 * MIB)
    (server.folder / "file").write_bytes(data)
    with Opened(server, tmp_path) as one:
        found, breaker = bytearray(), threading.Thread(target=interrupt, args=(server,))
        for block in one.share.source(one.share.folder / "file").blocks():
            found += block
            if len(found) == 8 * MIB:
                breaker.start()
                breaker.join()
        assert found == data
        assert one.session.outages


def test_a_file_that_has_become_another_is_not_gone_on_with(server: Web, tmp_path: Path) -> None:
    (server.folder / "file").write_bytes(bytes(24 * MIB))
    with Opened(server, tmp_path) as one, pytest.raises(Failed, match="another file by now"):
        for number, _ in enumerate(one.share.source(one.share.folder / "file").blocks()):
            if number == 4:
                server.kill()
                (server.folder / "file").write_bytes(bytes(25 * MIB))
                os.utime(server.folder / "file", (1, 1))
                server.start()


def test_an_upload_that_breaks_off_says_so(server: Web, tmp_path: Path) -> None:
    try:
        with Opened(server, tmp_path) as one, pytest.raises(OSError, match="cannot be gone on with"):  # noqa: SIM117
            with one.share.created(one.share.folder / "file") as sink:
                sink(bytes(MIB))
                server.kill()
                for _ in range(64):
                    sink(bytes(MIB))
    finally:
        server.start()


def test_an_upload_is_begun_when_the_server_is_back(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        server.kill()
        threading.Timer(3, server.start).start()
        with one.share.created(one.share.folder / "file") as sink:
            sink(b"text")
        assert (server.folder / "file").read_bytes() == b"text"
        assert one.session.outages


def test_patience_begins_when_a_server_is_asked(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path, patience=11) as one:
        time.sleep(13)  # as when filesystems shrink
        server.kill()
        threading.Timer(2, server.start).start()
        assert one.share.names() == []


def test_a_run_that_is_told_to_end_in_the_read_back_leaves_nothing(server: Web, tmp_path: Path) -> None:
    def end(_: int, __: FrameType | None) -> None:
        one.session.is_ending = lambda: True
        raise Ended("told so")

    with Opened(server, tmp_path) as one:
        before = signal.signal(signal.SIGALRM, end)
        try:
            with pytest.raises(Ended, match="told so"), Writer(one.share) as writer:
                folder = writer.begin(SET)
                with one.share.created(folder / "disk.img") as sink:
                    for _ in range(32):
                        sink(bytes(MIB))
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                while True:
                    for _ in one.share.source(folder / "disk.img").blocks():
                        pass
        finally:
            signal.signal(signal.SIGALRM, before)
    assert list(server.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_a_server_that_lets_anybody_read_and_wants_a_password_to_write(kind: str, tmp_path: Path) -> None:
    with web(kind, readable=True) as server:
        with Opened(server, tmp_path, secrets={"ca": server.ca}) as one:
            assert one.share.names() == []
            with pytest.raises(Refused, match="secret 'http'"):
                write_set_to(one.share)
        with Opened(server, tmp_path) as one:
            assert one.share.now() == pytest.approx(time.time(), abs=60)
            write_set_to(one.share)
            assert one.share.names() == [SET]


@pytest.mark.parametrize("how", ["away", "silent"])
def test_a_server_that_stays_away_is_given_up(
    server: Web, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvpack_agent.shares.http_wire.ANSWER_SECONDS", 3.0)
    with Opened(server, tmp_path, patience=0) as one:
        try:
            if how == "away":
                server.kill()
            else:
                server.signal(signal.SIGSTOP)
            with pytest.raises(Failed, match=r"cannot reach share 'https://.*did not answer for 1"):
                one.share.names()
        finally:
            if how == "away":
                server.start()
            else:
                server.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("secrets", "host", "kind", "message"),
    [
        ({"http": LETS_IN}, "127.0.0.1", Refused, "cannot trust server .* certificate"),
        ({"http": b"backup:wrong"}, "127.0.0.1", Failed, "cannot log in at .* 401"),
        ({"http": b"Bearer wrong"}, "127.0.0.1", Failed, "cannot log in at .* 401"),
        ({"http": b"nothing"}, "127.0.0.1", Refused, "it has no colon"),
        ({}, "127.0.0.1", Refused, "secret 'http'"),
        ({"ca": b"no certificate"}, "127.0.0.1", Refused, "secret 'ca'"),
        ({"client-cert": b"no certificate"}, "127.0.0.1", Refused, "secret 'client-cert'"),
        ({"http": LETS_IN}, "localhost", Refused, "cannot trust server localhost"),
    ],
)
def test_what_is_not_believed_and_who_is_not_let_in(
    server: Web, tmp_path: Path, secrets: dict[str, bytes], host: str, kind: type[LvpackError], message: str
) -> None:
    if "certificate" not in message:
        secrets = {"ca": server.ca, **secrets}
    with pytest.raises(kind, match=message) as error:
        Opened(server, tmp_path, secrets=secrets, host=host)
    assert error.value.hint
    assert PASSWORD not in error.value.message + error.value.hint
    assert not list((tmp_path / "new").glob("*")), "nothing of a key is left"


def test_an_expired_certificate(server: Web, tmp_path: Path) -> None:
    server.kill()
    try:
        certify(server.state, "server", days=-1)
        server.start()
        with pytest.raises(Refused, match="expired") as refused:
            Opened(server, tmp_path)
        assert "clock" in refused.value.hint
    finally:
        server.kill()
        certify(server.state, "server")
        server.start()


def test_nothing_is_sent_to_another_server(server: Web, tmp_path: Path) -> None:
    with Opened(server, tmp_path, path="/elsewhere") as one, pytest.raises(OSError, match="leads to another one"):
        one.share.text("file", 10)


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_a_certificate_of_ones_own_lets_in(kind: str, tmp_path: Path) -> None:
    with web(kind, password=False, certificate=True) as server:
        with Opened(server, tmp_path, secrets={"ca": server.ca, "client-cert": server.client_cert}) as one:
            write_set_to(one.share)
        with pytest.raises((Failed, OSError)), Opened(server, tmp_path, secrets={"ca": server.ca}, patience=0) as one:
            write_set_to(one.share)


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_a_password_never_goes_over_plain_http(kind: str, tmp_path: Path) -> None:
    with web(kind, tls=False) as server, pytest.raises(Refused, match="over https:// only"):
        Opened(server, tmp_path, scheme="http")


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_a_server_without_webdav_is_restored_from(kind: str, tmp_path: Path) -> None:
    with web(kind, tls=False, dav=False, password=False) as server:
        write_set(server.folder / SET)
        for path in (server.folder / SET).rglob("*"):
            path.chmod(0o644)
        with Opened(server, tmp_path, scheme="http", secrets={}) as one:
            assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
            with pytest.raises(Failed, match="it can be restored from only"):
                Writer(one.share).begin("other")
