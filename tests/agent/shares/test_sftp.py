"""Shares by SFTP, with a real server: what a set needs, what is named, and a connection that ends in the middle."""

import os
import random
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import xfslab
from lab.sshd import USER, Sshd, sshd
from lvpack_agent import places
from lvpack_agent.backup import clock, sameday
from lvpack_agent.backup.dump import set_name
from lvpack_agent.backup.failed_log import left_if_bad
from lvpack_agent.backup.job import Job
from lvpack_agent.errors import Ended, Failed, LvpackError, Refused
from lvpack_agent.guarded import Odd
from lvpack_agent.image import check, files
from lvpack_agent.image.write import Writer, refuse_taken
from lvpack_agent.processes import run
from lvpack_agent.secret.secrets import forget
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.shares import sftp, sftp_wire
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.ssh import refusal
from lvpack_agent.shares.url import parse_url
from lvpack_agent.shares.waiting import Gone
from lvpack_agent.sizes import KIB, MIB
from lvpack_builder.lab.nfs import limited_folder
from tests.agent.builders.remote import begin_a_set_that_fails, write_and_read, write_one_name_twice
from tests.agent.builders.sets import SET, manifest, write_set_to
from tests.agent.builders.shares import access

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="a server with a chroot is root's"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with sshd() as made:
        yield made


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Sshd) -> None:
    for name in ("AWAY", "LEAVES", "LOG"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    for path in server.folder.iterdir():
        path.unlink() if path.is_file() or path.is_symlink() else _remove(path)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        _remove(path) if path.is_dir() else path.unlink()
    folder.rmdir()


class Opened(ExitStack):
    """A share, and what its session has said."""

    def __init__(
        self,
        server: Sshd,
        folder: Path,
        patience: float = 60,
        path: str = "/sets",
        secrets: dict[str, bytes] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        self.said: list[str] = []
        self.session = Session(action="backup", out=self.said.append)
        url = parse_url(f"sftp://{USER}@{host}:{server.port}{path}")
        known = {"ssh-key": server.key, "known-hosts": server.known_hosts(host), **(secrets or {})}
        how = access(patience=patience, secrets=known)
        self.share: RemoteShare = self.enter_context(sftp.opened(url, folder / "new", how, self.session))


def test_a_set_is_written_read_and_gets_its_name_at_the_end(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        assert one.share.names() == [SET]
        assert check.check_set(one.share.folder / SET, print, one.share.source) == manifest()
        with pytest.raises(Refused, match="it exists on the share"):
            refuse_taken(one.share, SET)
        assert one.share.modified(one.share.folder / SET / files.MANIFEST) == pytest.approx(time.time(), abs=60)
        assert one.share.now() == pytest.approx(time.time(), abs=60)
        assert one.share.names() == [SET], "nothing else is left"
    made = server.folder / SET
    assert {path.relative_to(made).as_posix() for path in made.rglob("*")} == {
        "disk.img",
        "layout",
        "layout/plan.txt",
        files.MANIFEST,
        files.SUMS,
    }
    for path in (made, *made.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert not list(tmp_path.glob("*ssh*")), "key and host keys are gone"


def test_the_server_is_asked_for_what_version_3_lacks(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        client = one.share.remote
        assert isinstance(client, sftp.Sftp)
        assert {"fsync@openssh.com", "posix-rename@openssh.com"} <= client.connected().extensions.keys()
        for text in (b"old", b"new"):
            one.share.write(one.share.folder / "beside", text, 0o600)
            one.share.replace(one.share.folder / "beside", one.share.folder / "log")
        assert one.share.names() == ["log"] and one.share.text("log", 10) == b"new"


def test_a_set_that_fails_leaves_nothing(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        begin_a_set_that_fails(one.share)
    assert list(server.folder.iterdir()) == []


def test_two_writers_of_one_name(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one, Opened(server, tmp_path / "other") as other:
        write_one_name_twice(one.share, other.share, server.folder / SET)
    assert [path.name for path in server.folder.iterdir()] == [SET]


def test_an_agent_that_was_killed_leaves_its_key_to_the_next_one_which_wipes_it(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says the result of the killed one, or one that opens the share anew."""
    monkeypatch.setattr(places, "RUN", tmp_path)
    monkeypatch.setattr(places, "SECRETS", tmp_path / "secrets")
    for wiped in (forget, lambda: Opened(server, tmp_path).close()):
        if not (pid := os.fork()):
            try:
                killed = Opened(server, tmp_path)
                killed.share.names()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        [folder] = tmp_path.glob("*-ssh")
        held = os.open(folder / "key", os.O_RDONLY)
        try:
            assert os.pread(held, 100, 0).startswith(b"-----BEGIN")
            wiped()
            assert set(os.pread(held, MIB, 0)) == {0}
        finally:
            os.close(held)
        assert not folder.exists()


def test_what_stands_in_the_place_of_a_file_is_named(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        (server.folder / SET / files.MANIFEST).rename(server.folder / "elsewhere")
        (server.folder / SET / files.MANIFEST).symlink_to("../elsewhere")
        with pytest.raises(Failed, match="it is a link"):
            check.read_manifest(one.share.folder / SET, source=one.share.source)
        with pytest.raises(Odd, match="it is a folder"):
            one.share.source(one.share.folder / SET).size()
        with pytest.raises(Odd, match="no such file has more than 10"):
            one.share.source(one.share.folder / "elsewhere", 10).read(0, 11)
        with pytest.raises(FileNotFoundError):
            one.share.source(one.share.folder / "nothing").size()


def contents(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 32 * KIB, 5 * MIB + 17])
def test_what_was_written_is_read(server: Sshd, tmp_path: Path, size: int) -> None:
    data = contents(size)
    with Opened(server, tmp_path) as one:
        write_and_read(one.share, data)
    assert (server.folder / "file").read_bytes() == data


def interrupt(server: Sshd, how: str) -> None:
    """Let all connections end, or the server be away for a while."""
    if how == "connection":
        server.signal(signal.SIGKILL)
    else:
        server.kill()
        time.sleep(3)
        server.start()


@pytest.mark.parametrize("how", ["connection", "server"])
def test_a_connection_that_ends_is_made_anew_and_nothing_is_lost(server: Sshd, tmp_path: Path, how: str) -> None:
    data = contents(24 * MIB)
    with Opened(server, tmp_path) as one:
        one.session.out = print
        breaker = threading.Thread(target=interrupt, args=(server, how))
        with one.share.created(one.share.folder / "file") as sink:
            for at in range(0, len(data), MIB):
                sink(data[at : at + MIB])
                if at == 8 * MIB:
                    breaker.start()
                    if how == "connection":
                        breaker.join()
        breaker.join()
        assert (server.folder / "file").read_bytes() == data
        found, breaker = bytearray(), threading.Thread(target=interrupt, args=(server, how))
        for block in one.share.source(one.share.folder / "file").blocks():
            found += block
            if len(found) == 8 * MIB:
                breaker.start()
                if how == "connection":
                    breaker.join()
        breaker.join()
        assert found == data


def test_a_name_that_is_not_resolved_for_a_while_is_waited_for(server: Sshd, tmp_path: Path) -> None:
    """In the middle of a run: at its beginning it was resolved (mounted._reach())."""
    with xfslab.memory(tmp_path / "memory") as memory, ExitStack() as undo:
        known, hosts = "127.0.0.1 server.invalid\n", memory / "hosts"
        hosts.write_text(known)
        run(["mount", "--bind", hosts, "/etc/hosts"])
        undo.callback(run, ["umount", "/etc/hosts"])
        one = undo.enter_context(Opened(server, tmp_path, host="server.invalid"))
        assert one.share.names() == []
        hosts.write_text("")
        server.signal(signal.SIGKILL)
        threading.Timer(5, lambda: hosts.write_text(known)).start()
        assert one.share.names() == []
        assert one.session.outages > 1


def test_a_server_that_loses_what_it_had_confirmed_is_not_believed(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one, pytest.raises(OSError, match="the server had"):  # noqa: SIM117
        with one.share.created(one.share.folder / "file") as sink:
            sink(bytes(8 * MIB))
            server.kill()
            os.truncate(server.folder / "file", MIB)
            server.start()
            sink(bytes(8 * MIB))


@pytest.mark.parametrize("how", ["away", "silent"])
def test_a_server_that_stays_away_is_given_up(server: Sshd, tmp_path: Path, how: str) -> None:
    one = Opened(server, tmp_path, patience=0)
    with one:
        try:
            if how == "away":
                server.kill()
            else:
                server.signal(signal.SIGSTOP, also_new=True)
            begun = time.monotonic()
            with pytest.raises(Failed, match=r"cannot reach share 'sftp://.*did not answer for 1") as failed:
                one.share.names()
            assert time.monotonic() - begun < 40
            assert "lvpack.patience" in failed.value.hint
            assert any("it is given up" in line for line in one.said), one.said
            settings = parse([f"lvpack.target={one.share.name}", "lvpack.name=one"])
            assert settings
            job = Job(settings=settings, session=one.session, shared=one.share, folder=tmp_path)
            with pytest.raises(Failed, match="cannot shrink"), left_if_bad(job):
                raise Failed("cannot shrink", hint="why it ended")
            [warning] = one.session.warnings
            assert "cannot leave the log" in warning
        finally:
            if how == "away":
                server.start()
            else:
                server.signal(signal.SIGCONT, also_new=True)
                server.signal(signal.SIGKILL)


def test_patience_begins_when_a_server_is_asked(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path, patience=11) as one:
        time.sleep(13)  # as when filesystems shrink
        server.kill()
        threading.Timer(2, server.start).start()
        assert one.share.names() == []


def test_a_run_that_is_told_to_end_in_the_read_back_leaves_nothing(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sftp_wire.Wire._bytes

    def told(wire: sftp_wire.Wire, count: int) -> bytes:
        """As a signal comes between the length of a packet and its data."""
        if count > 16 * KIB and not one.session.is_ending():
            one.session.is_ending = lambda: True
            raise Ended("told so")
        return real(wire, count)

    with Opened(server, tmp_path) as one, pytest.raises(Ended, match="told so"), Writer(one.share) as writer:
        folder = writer.begin(SET)
        with one.share.created(folder / "disk.img") as sink:
            sink(bytes(8 * MIB))
        monkeypatch.setattr(sftp_wire.Wire, "_bytes", told)
        for _ in one.share.source(folder / "disk.img").blocks():
            pass
    assert list(server.folder.iterdir()) == []


@pytest.mark.parametrize("kind", [sftp_wire.OPEN, sftp_wire.MKDIR, sftp_wire.RENAME, sftp_wire.REMOVE])
def test_what_was_done_and_its_answer_lost_is_no_error(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    real, lost = sftp_wire.Wire.ask, list[int]()

    def loses(wire: sftp_wire.Wire, asked: int, *fields: bytes) -> tuple[int, sftp_wire.Reader]:
        answer = real(wire, asked, *fields)
        if asked == kind and not lost:
            lost.append(asked)
            raise Gone("the connection has ended")
        return answer

    with Opened(server, tmp_path) as one:
        client = one.share.remote
        monkeypatch.setattr(sftp_wire.Wire, "ask", loses)
        client.make_folder("folder")
        with client.created("folder/new") as sink:
            sink(b"text")
        client.rename("folder/new", "folder/file")
        assert client.names("folder") == ["file"] and client.read("folder/file", 0, 4) == b"text"
        client.remove("folder/file")
        assert client.names("folder") == [] and lost


def test_a_log_that_cannot_be_left_does_not_take_the_place_of_the_cause(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        settings = parse([f"lvpack.target={one.share.name}", "lvpack.name=one"])
        assert settings
        job = Job(settings=settings, session=one.session, shared=one.share, folder=tmp_path)
        with pytest.raises(Failed, match="cannot shrink"), left_if_bad(job), Writer(one.share) as writer:
            writer.begin(SET)
            server.kill()
            server.new_host_key()
            server.start()
            raise Failed("cannot shrink", hint="why it ended")
        [warning] = one.session.warnings
        assert "cannot leave the log" in warning and "cannot trust server" in warning


def test_a_full_disk_is_called_one(server: Sshd, tmp_path: Path) -> None:
    with limited_folder(server.folder / "small", 2 * MIB) as small:
        small.chmod(0o777)
        with Opened(server, tmp_path) as one, pytest.raises(OSError, match="No space left on device"):  # noqa: SIM117
            with one.share.created(one.share.folder / "small/file") as sink:
                for _ in range(8):
                    sink(bytes(MIB))
        (small / "file").unlink()
        deadline = time.monotonic() + 30
        while server.connections() and time.monotonic() < deadline:
            time.sleep(0.1)  # it holds the folder as long


def test_no_permission(server: Sshd, tmp_path: Path) -> None:
    (server.folder / "closed").mkdir(mode=0o755)  # root's
    with Opened(server, tmp_path, path="/sets/closed") as one, pytest.raises(Failed, match="Permission denied"):
        Writer(one.share).begin(SET)


@pytest.mark.parametrize(
    ("secrets", "path", "kind", "message"),
    [
        ({"known-hosts": b""}, "/sets", Refused, "host key is not the one"),
        ({"known-hosts": b"[127.0.0.1]:1 ssh-ed25519 AAAA\n"}, "/sets", Refused, "host key is not the one"),
        ({"ssh-key": b"no key\n"}, "/sets", Refused, "cannot use secret 'ssh-key'"),
        ({}, "/sets/not-there", Failed, "cannot use share 'sftp://.*No such file"),
    ],
)
def test_what_a_server_does_not_take_is_named(
    server: Sshd, tmp_path: Path, secrets: dict[str, bytes], path: str, kind: type[LvpackError], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        Opened(server, tmp_path, path=path, secrets=secrets)
    assert error.value.hint
    assert not list(tmp_path.glob("*ssh*"))


def test_a_key_that_the_server_does_not_know(server: Sshd, tmp_path: Path) -> None:
    before = (server.state / "authorized_keys").read_bytes()
    (server.state / "authorized_keys").write_text("")
    try:
        with pytest.raises(Failed, match=f"cannot log in at .* as {USER}") as failed:
            Opened(server, tmp_path)
        assert "ssh-key" in failed.value.hint
    finally:
        (server.state / "authorized_keys").write_bytes(before)


def test_a_server_with_another_host_key_is_refused_also_in_the_middle(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        known = server.known_hosts()
        server.kill()
        server.new_host_key()
        server.start()
        assert server.known_hosts() != known
        with pytest.raises(Refused, match=r"cannot trust server 127\.0\.0\.1"):
            one.share.names()


def test_without_a_known_host_key_the_run_is_refused(tmp_path: Path, server: Sshd) -> None:
    url = parse_url(f"sftp://{USER}@127.0.0.1:{server.port}/sets")
    with pytest.raises(Refused, match="secret 'known-hosts'"), ExitStack() as undo:
        undo.enter_context(
            sftp.opened(url, tmp_path / "new", access(secrets={"ssh-key": server.key}), Session(action="", out=print))
        )


def test_where_a_path_leads() -> None:
    assert [sftp.base_of(path) for path in ("/a/b/", "/", "/~/a", "/~")] == ["/a/b", "/", "a", "."]


def test_what_may_pass_is_tried_again() -> None:
    url = parse_url("sftp://u@h/x")
    for said in ("ssh: connect to host h port 22: Connection refused", "kex_exchange_identification: read: reset", ""):
        assert refusal(said, url, said.splitlines()) is None


def test_a_checksum_that_is_not_that_of_the_image(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        with (server.folder / SET / "disk.img").open("r+b") as file:
            file.write(b"x")
        with pytest.raises(Failed, match="cannot trust image set"):
            check.check_set(one.share.folder / SET, print, one.share.source)


def test_the_log_of_a_run_that_fails_is_left_and_replaced_and_goes(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        settings = parse([f"lvpack.target={one.share.name}", "lvpack.name=one"])
        assert settings
        job = Job(settings=settings, session=one.session, shared=one.share, folder=tmp_path)
        one.session.name = "one"
        for cause in ("cannot shrink", "cannot merge"):
            with pytest.raises(Failed), left_if_bad(job):
                raise Failed(cause, hint="look")
        assert "cannot merge" in (server.folder / "one.failed.log").read_text()
        assert [path.name for path in server.folder.iterdir()] == ["one.failed.log"]
        with left_if_bad(job):
            pass
    assert list(server.folder.iterdir()) == []
    assert one.session.warnings == []


def test_what_a_backup_asks_of_a_share_before_it_begins(server: Sshd, tmp_path: Path) -> None:
    with Opened(server, tmp_path) as one:
        write_set_to(one.share)
        clocks = clock.read(one.share)
        assert clocks.server == pytest.approx(time.time(), abs=60) and clocks.agree
        assert sameday.doubts(one.share, "no such VG", clocks) == []
        sameday.refuse_second(one.share, "no such VG", clocks, one.session)
        assert set_name(one.share, SET, "host") == SET
        assert set_name(one.share, "", "host").startswith("host-2")
        assert one.session.warnings == []
