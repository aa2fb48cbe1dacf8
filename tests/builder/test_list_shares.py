"""The workstation's commands with URLs, at real servers: SFTP by sshd, HTTP by nginx and Apache, S3 by Swift."""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab import sshd, swift, web
from lvpack_agent.image.write import write_sums
from lvpack_agent.session import Session
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import s3
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.url import parse_url
from lvpack_builder.cli.main import main
from tests.agent.builders.oddities import spoil
from tests.agent.builders.sets import manifest
from tests.agent.builders.shares import access
from tests.builder.builders import put_log, put_set, write_set

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own is root's"),
]
# qemu-img of the workstation writes the qcow2 files; here it copies.
QEMU_IMG = '#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\nexec /bin/cp "$1" "$2"\n'
S3_URL = f"s3://{swift.BUCKET}/all/sets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server with the sets of a folder: the URL of the share, and the words that let a command in there."""

    url: str
    words: tuple[str, ...]
    kill: Callable[[], None]
    start: Callable[[], None]


def fill(folder: Path, blog: Path) -> None:
    """Put one of each kind into a folder, and a set that is whole."""
    write_set(folder / "whole", blog)
    put_set(folder, "web1-20200112T080000Z", warnings=("a warning",))
    put_set(folder, "deep")
    spoil(folder / "deep/manifest.json", "deep")
    put_set(folder, "lies")
    (folder / "lies/disk.img").write_bytes(b"x")
    put_log(folder, "web1-20200114T080000Z")
    (folder / "cut").mkdir()
    shutil.copy(folder / "whole/SHA256SUMS", folder / "cut")
    (folder / "device").unlink()
    # Of somebody else.
    for name in ("movie.partial", "odd.txt"):
        (folder / name).write_text("none of lvpack's\n")


def secret(folder: Path, name: str, data: bytes) -> tuple[str, str]:
    (folder / name).write_bytes(data)
    return "--secret", f"{name}={folder / name}"


@contextmanager
def by_sftp(folder: Path, blog: Path) -> Iterator[Served]:
    with sshd.sshd() as server:
        fill(server.folder, blog)
        (server.folder / "web1-20200115T080000Z.partial").mkdir()
        put_set(server.folder, "fifo")
        spoil(server.folder / "fifo/manifest.json", "fifo")
        own(server.folder, sshd.USER)
        words = (*secret(folder, "ssh-key", server.key), *secret(folder, "known-hosts", server.known_hosts()))
        yield Served(
            url=f"sftp://{sshd.USER}@127.0.0.1:{server.port}/sets", words=words, kill=server.kill, start=server.start
        )


def by_http(kind: str) -> Callable[[Path, Path], AbstractContextManager[Served]]:
    @contextmanager
    def served(folder: Path, blog: Path) -> Iterator[Served]:
        with web.web(kind) as server:
            fill(server.folder, blog)
            (server.folder / "web1-20200115T080000Z.partial").mkdir()
            own(server.folder, web.USER)
            known = f"{web.USER}:{web.PASSWORD}\n".encode()
            words = (*secret(folder, "http", known), *secret(folder, "ca", server.ca))
            yield Served(url=f"https://127.0.0.1:{server.port}/sets", words=words, kill=server.kill, start=server.start)

    return served


@contextmanager
def by_s3(folder: Path, blog: Path) -> Iterator[Served]:
    (folder / "local").mkdir()
    fill(folder / "local", blog)
    with swift.swift() as server:
        server.make_bucket()
        endpoint, keys = f"http://127.0.0.1:{server.port}", f"{swift.ACCESS}:{swift.SECRET}"
        options = ShareOptions(endpoint=endpoint, region=swift.REGION, path_style=True)
        how = access(options=options, secrets={"s3": keys.encode()})
        with s3.opened(parse_url(S3_URL), folder / "new", how, Session(action="", out=print)) as share:
            assert isinstance(share.remote, s3.S3)
            send(share, folder / "local")
            with share.remote.created("whole.partial/disk.img") as sink:
                sink(b"a copy, by other means, of what a share of another kind has")
        words = (
            *secret(folder, "s3", keys.encode()),
            *("-a", f"lvpack.share=endpoint={endpoint},region={swift.REGION},path-style"),
        )
        yield Served(url=S3_URL, words=words, kill=server.kill, start=server.start)


def send(share: Share, folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            share.write(share.folder / path.relative_to(folder), path.read_bytes(), 0o600)


def own(folder: Path, user: str) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user, user)


SERVERS: dict[str, Callable[[Path, Path], AbstractContextManager[Served]]] = {
    "sftp": by_sftp,
    "nginx": by_http("nginx"),
    "apache": by_http("apache"),
    "s3": by_s3,
}


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    blog = Path(__file__).parents[1] / "data/blog"
    with ExitStack() as undo:
        yield undo.enter_context(SERVERS[request.param](tmp_path_factory.mktemp("served"), blog))


def lvpack(*words: str) -> tuple[int, str, str]:
    """Run a command; return its status, its output and what it says beside."""
    answer = CliRunner().invoke(main, list(words))
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exc_info
    return answer.exit_code, answer.stdout, answer.stderr


def test_a_share_is_listed(served: Served) -> None:
    status, text, said = lvpack("list", served.url, *served.words, "--json")
    assert status == 0 and said == "", said
    form = json.loads(text)
    assert form["share"] == served.url
    sets = {row["name"]: row for row in form["sets"]}
    with_partial = {"web1-20200115T080000Z.partial": "unfinished"} if served.url != S3_URL else {}
    with_fifo = {"fifo": "bad"} if served.url.startswith("sftp") else {}
    assert {name: row["state"] for name, row in sets.items()} == {
        "whole": "complete",
        "web1-20200112T080000Z": "complete",
        "deep": "bad",
        "lies": "bad",
        "cut": "unfinished",
        **with_partial,
        **with_fifo,
    }
    assert "nested too deep" in sets["deep"]["cause"] and "has 1 bytes, not 4,096" in sets["lies"]["cause"]
    assert sets["web1-20200112T080000Z"]["warnings"] == ["a warning"]
    assert [(log["machine"], log["message"]) for log in form["failed"]] == [("web1", "cannot shrink LV 'root': no")]
    status, text, said = lvpack("list", served.url, *served.words, "--metrics")
    assert (status, said) == (0, "") and f'lvpack_sets{{share="{served.url}",machine="whole"}} 1\n' in text
    status, text, said = lvpack("list", served.url, *served.words)
    assert (status, said) == (0, "") and "warning: a warning" in text and " bad, " in text


def test_a_set_is_inspected_planned_verified_and_converted(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{served.url}/whole"
    assert lvpack("inspect", url, *served.words)[1].startswith("image set  whole, made today by lvpack 0\n")
    assert lvpack("plan", url, *served.words)[1].startswith("Plan: pack disk /dev/vda")
    planned = lvpack("plan", url, *served.words, "--target-size", "40G", "-a", "lvpack.grow=none")
    assert planned[0] == 0 and planned[1].startswith("Plan: restore image set whole"), planned
    assert lvpack("verify", url, *served.words)[1].endswith("image set whole is complete and unchanged\n")
    (tmp_path / "qemu-img").write_text(QEMU_IMG)
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    out = tmp_path / "out.qcow2"
    status, text, _ = lvpack("convert", url, str(out), *served.words)
    assert status == 0 and text.endswith(f"wrote {out}\n")
    assert out.stat().st_size == 4 << 20 and stat.S_IMODE(out.stat().st_mode) == 0o600
    status, _, said = lvpack("verify", f"{served.url}/lies", *served.words)
    assert status == 1 and "cannot trust image set 'lies'" in said
    status, _, said = lvpack("inspect", f"{served.url}/nothing", *served.words)
    assert status == 2 and "there is no manifest.json in it" in said


def test_a_set_is_no_share_and_a_secret_that_is_missing_is_named(served: Served) -> None:
    status, _, said = lvpack("list", f"{served.url}/whole", *served.words)
    assert status == 2 and "it is an image set" in said
    name = served.words[1].partition("=")[0]
    status, _, said = lvpack("list", served.url, *served.words[2:])
    assert status == 2 and f"cannot find secret '{name}'" in said and f"--secret {name}=FILE" in said


@pytest.fixture
def mortal(served: Served) -> Served:
    """A server that is killed: Swift takes half a minute to start, and its client waits as that of HTTP does."""
    if served.url == S3_URL:
        pytest.skip("a client of HTTP")
    return served


def test_a_server_that_is_away_ends_the_list_and_makes_no_bad_rows(
    mortal: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvpack_agent.shares.mounted.REACH_SECONDS", 0.5)
    mortal.kill()
    try:
        for words in (["list", mortal.url, "--json"], ["verify", f"{mortal.url}/whole"]):
            status, text, said = lvpack(*words, *mortal.words, "-a", "lvpack.patience=0")
            assert status == 1 and text == "" and "cannot reach share" in said, (text, said)
    finally:
        mortal.start()


def test_a_server_that_goes_away_in_the_middle(mortal: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was listed by then is not taken for all, nor the rest for damaged."""
    seen: list[str] = []
    before = RemoteShare.names_in

    def names_in(self: RemoteShare, folder: Path) -> list[str]:
        if not seen:
            mortal.kill()
        seen.append(folder.name)
        return before(self, folder)

    monkeypatch.setattr(RemoteShare, "names_in", names_in)
    try:
        status, text, said = lvpack("list", mortal.url, *mortal.words, "--json", "-a", "lvpack.patience=0")
        assert seen and status == 1 and text == "" and "cannot reach share" in said, (text, said)
    finally:
        mortal.start()


def test_a_web_server_without_lists_has_sets_all_the_same(tmp_path: Path) -> None:
    with web.web("nginx", tls=False, dav=False, password=False) as server:
        put_set(server.folder, "one")
        own(server.folder, web.USER)
        url = f"http://127.0.0.1:{server.port}/sets"
        status, _, said = lvpack("list", url)
        assert status == 1 and "PROPFIND" in said
        write_sums(server.folder / "one", manifest().images)
        own(server.folder, web.USER)
        assert lvpack("verify", f"{url}/one")[0] == 0
