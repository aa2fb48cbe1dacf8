"""Servers behind a real proxy, tinyproxy: by a tunnel, by whole URLs, and who learns what of whom."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.swift import ACCESS, REGION, SECRET, swift
from lab.tinyproxy import PASSWORD, USER, Tinyproxy, tinyproxy
from lab.web import PASSWORD as WEB_PASSWORD
from lab.web import USER as WEB_USER
from lab.web import Web, web
from lvpack_agent import places
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check
from lvpack_agent.session import Session
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import http, mounted, s3
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import SET, manifest, write_set_to
from tests.agent.builders.shares import access

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own is root's"),
]
THROUGH = f"{USER}:{PASSWORD}".encode()


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWAY", "LEAVES", "LOG"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())


@pytest.fixture(params=[False, True], ids=["open", "password"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Tinyproxy]:
    with tinyproxy(password=request.param) as made:
        yield made


class Opened(ExitStack):
    """A share behind a proxy, and what its session has said."""

    def __init__(
        self, url: str, folder: Path, proxy: str, secrets: dict[str, bytes] | None = None, patience: float = 60
    ) -> None:
        super().__init__()
        self.said: list[str] = []
        self.session = Session(action="backup", out=self.said.append)
        how = access(
            patience=patience, options=ShareOptions(proxy=proxy), secrets={"proxy": THROUGH, **(secrets or {})}
        )
        self.share: RemoteShare = self.enter_context(http.opened(parse_url(url), folder / "new", how, self.session))


def known(server: Web) -> dict[str, bytes]:
    return {"ca": server.ca, "http": f"{WEB_USER}:{WEB_PASSWORD}".encode()}


def round_trip(share: RemoteShare) -> None:
    write_set_to(share)
    assert check.check_set(share.folder / SET, print, share.source) == manifest()
    data = random.Random(0).randbytes(3 * MIB + 1)
    with share.created(share.folder / "file") as sink:
        sink(data)
    assert b"".join(share.source(share.folder / "file").blocks()) == data


def test_by_a_tunnel(proxy: Tinyproxy, tmp_path: Path) -> None:
    with web("nginx") as server:
        with Opened(f"https://127.0.0.1:{server.port}/sets", tmp_path, proxy.url, known(server)) as one:
            round_trip(one.share)
        assert (server.folder / SET).is_dir()
        assert f"CONNECT 127.0.0.1:{server.port} HTTP/1.1" in proxy.log()
        assert "PUT" not in proxy.log() and SET not in proxy.log(), "it sees nothing of what passes"


def test_by_whole_urls(proxy: Tinyproxy, tmp_path: Path) -> None:
    with web("apache", tls=False, password=False) as server:
        url = f"http://127.0.0.1:{server.port}/sets"
        with Opened(url, tmp_path, proxy.url) as one:
            round_trip(one.share)
        assert (server.folder / SET).is_dir()
        assert f"MOVE http://127.0.0.1:{server.port}/sets/{SET}.partial/" in proxy.log()


def test_a_bucket(proxy: Tinyproxy, tmp_path: Path) -> None:
    with swift() as server:
        options = ShareOptions(
            endpoint=f"http://127.0.0.1:{server.port}", region=REGION, path_style=True, proxy=proxy.url
        )
        how = access(options=options, secrets={"s3": f"{ACCESS}:{SECRET}".encode(), "proxy": THROUGH})
        session = Session(action="backup", out=print)
        server.make_bucket("behind")
        with s3.opened(parse_url("s3://behind/sets"), tmp_path / "new", how, session) as share:
            round_trip(share)
        assert f"PUT http://127.0.0.1:{server.port}/behind/sets/{SET}/" in proxy.log()


def test_a_tunnel_that_ends_is_made_anew(proxy: Tinyproxy, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(24 * MIB)

    def interrupt() -> None:
        proxy.kill()
        time.sleep(3)
        proxy.start()

    with web("nginx") as server:
        (server.folder / "file").write_bytes(data)
        with Opened(f"https://127.0.0.1:{server.port}/sets", tmp_path, proxy.url, known(server)) as one:
            found = bytearray()
            for block in one.share.source(one.share.folder / "file").blocks():
                found += block
                if len(found) == 8 * MIB:
                    breaker = threading.Thread(target=interrupt)
                    breaker.start()
                    breaker.join()
            assert found == data and one.session.outages


class _Origin(BaseHTTPRequestHandler):
    """A web server that keeps the headers that it is sent."""

    def do_HEAD(self) -> None:
        self.server.headers.append(dict(self.headers))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_no_server_learns_what_lets_us_through(proxy: Tinyproxy, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Origin) as origin:
        origin.headers = list[dict[str, str]]()  # type: ignore[attr-defined]
        thread = threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with Opened(f"http://127.0.0.1:{origin.server_port}/sets", tmp_path, proxy.url) as one:
                with pytest.raises(OSError, match=r"supported|says"):
                    one.share.remote.remove("x")
                headers = one.share.remote._server.headers()  # type: ignore[attr-defined]
        finally:
            origin.shutdown()
            thread.join()
        seen = str(origin.headers)  # type: ignore[attr-defined]
    assert "Host" in seen and "Proxy-Authorization" not in seen
    assert ("Proxy-Authorization" in headers) == ("BasicAuth" in (proxy.state / "conf").read_text()), "not unasked"


@pytest.mark.parametrize(
    ("scheme", "secret", "kind", "message"),
    [
        ("https", b"through:wrong", Failed, r"cannot log in at proxy 127\.0\.0\.1:\d+: 401"),
        ("http", b"through:wrong", Refused, r"cannot log in at 127\.0\.0\.1:\d+"),  # nobody knows whose 401 it is
        ("https", b"nothing", Refused, "secret 'proxy': it has no colon"),
        ("http", b"nothing", Refused, "secret 'proxy': it has no colon"),
    ],
)
def test_who_is_not_let_through_is_told(
    scheme: str, secret: bytes, kind: type[LvpackError], message: str, tmp_path: Path
) -> None:
    with tinyproxy(password=True) as made, web("nginx", tls=scheme == "https", password=False) as server:
        secrets = {"ca": server.ca, "proxy": secret}
        with pytest.raises(kind, match=message) as error:
            Opened(f"{scheme}://127.0.0.1:{server.port}/sets", tmp_path, made.url, secrets)
        assert "secret 'proxy'" in error.value.message + error.value.hint
        assert PASSWORD not in error.value.message + error.value.hint


def test_the_server_behind_it_is_still_to_be_believed(tmp_path: Path) -> None:
    with tinyproxy() as made, web("nginx") as server, pytest.raises(Refused, match="cannot trust server"):
        Opened(f"https://127.0.0.1:{server.port}/sets", tmp_path, made.url, {"ca": made_ca(tmp_path)})


def made_ca(folder: Path) -> bytes:
    """Return the certificate of an authority that has certified nothing."""
    from lab.web import certify

    certify(folder, "other")
    return (folder / "ca.pem").read_bytes()


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounted, "REACH_SECONDS", 0.0)
    with pytest.raises(Failed, match=r"cannot reach proxy http://127\.0\.0\.1:1 of share 'https://nobody") as failed:
        mounted._reach(parse_url("https://nobody.invalid/x"), "http://127.0.0.1:1")
    assert "lvpack.share=proxy=" in failed.value.hint
