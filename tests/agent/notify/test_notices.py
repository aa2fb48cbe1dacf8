"""Notices of whole runs, as a booted agent gives them: begun, ended, refused, killed; no receiver changes a result."""

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.receiver import Receiver, receiving, silent
from lvpack_agent import places
from lvpack_agent.errors import Ended, Failed
from lvpack_agent.network import up
from lvpack_agent.notify import notices, send
from lvpack_agent.notify.asked import Asked, leave, of_killed, of_words
from lvpack_agent.notify.notices import Notices
from lvpack_agent.report import RESULT_MARK, Report
from lvpack_agent.secret import firmware, stick
from lvpack_agent.secret.secrets import Secrets, forget
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.values import Settings
from tests.agent.builders.machine import Machine, only_result

TOKEN = "T0ken"


def events(server: Receiver) -> list[str]:
    return [f"{r.event['event']} {r.event.get('status', '')}".strip() for r in server.got if r.event]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine.made(tmp_path)
    made.program("lsblk", """echo '{"blockdevices": []}'""")
    made.program("modprobe", "exit 0")
    return made


def words(*ports: int, more: str = "lvpack.action=plan") -> bytes:
    urls = " ".join(f"lvpack.notify=http://127.0.0.1:{port}/{TOKEN}" for port in ports)
    return f"ip=off lvpack.onerror=halt {more} {urls}".encode()


@pytest.mark.starts_processes
def test_a_run_tells_that_it_begins_and_how_it_ended(machine: Machine) -> None:
    with receiving() as server:
        ended = machine.boot(words(server.port))
        report = only_result(ended)
        assert events(server) == ["started", f"result {report.status}"]
    [line] = [line for line in ended.stdout.splitlines() if RESULT_MARK in line]
    said = server.got[1].event
    assert said is not None
    assert {k: v for k, v in said.items() if k not in ("event", "lvpack", "machine")} == json.loads(
        line.removeprefix(RESULT_MARK)
    )
    lines = ended.stdout.splitlines()
    assert lines.index(line) < lines.index("notify: told 127.0.0.1 the result") < lines.index("then: halt")
    assert machine.ended_by() == "halt -n -f\n" and not (machine.folder / "run/notify").exists()
    assert TOKEN not in ended.stdout + ended.stderr + (machine.folder / "run/agent.log").read_text()


@pytest.mark.starts_processes
def test_a_dead_receiver_is_a_warning_after_the_result_and_keeps_nobody(machine: Machine) -> None:
    with receiving() as server, silent() as port:
        began = time.monotonic()
        ended = machine.boot(words(port, server.port))
        assert time.monotonic() - began < 2 * send.SECONDS + 8
        report = only_result(ended)
        assert events(server) == ["started", f"result {report.status}"]
    dead = "cannot tell 127.0.0.1 that the run begins: it does not answer"
    assert report.warnings == (dead,) and f"warning: {dead}" in ended.stdout
    after = ended.stdout.partition(RESULT_MARK)[2]
    assert "warning: cannot tell 127.0.0.1 the result: it does not answer" in after
    log = (machine.folder / "run/agent.log").read_text()
    assert "cannot tell 127.0.0.1 the result" in log and TOKEN not in ended.stdout + log
    with silent() as port:
        without = only_result(machine.boot(words()))
    assert (without.status, without.message) == (report.status, report.message)


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    "more",
    ["lvpack.colour=red", "lvpack.action=restore", "lvpack.margin=\xff", "lvpack.config=nfs://127.0.0.1:{port}/x/f"],
)
def test_a_run_that_does_not_begin_tells_its_result(machine: Machine, more: str) -> None:
    machine.program("mount.nfs", "exit 32")
    with receiving() as server:
        report = only_result(machine.boot(words(server.port, more=more.format(port=server.port))))
        assert events(server) == [f"result {report.status}"]
    assert machine.said() == "halt\n" and not report.warnings


@pytest.mark.starts_processes
def test_a_receiver_that_is_no_url_is_refused_and_the_others_hear_of_it(machine: Machine) -> None:
    with receiving() as server:
        ended = machine.boot(words(server.port) + f" lvpack.notify=gopher://h/{TOKEN}".encode())
        assert only_result(ended).status == "refused" and TOKEN not in ended.stdout
        assert events(server) == ["result refused"]


@pytest.mark.starts_processes
def test_the_agent_that_speaks_for_one_that_was_killed_tells_its_result(machine: Machine) -> None:
    """The first one is killed while a program of it runs; its receivers are known from what it has left."""
    with receiving() as server:
        machine.program("lsblk", "kill -9 $PPID; sleep 9")
        killed = machine.boot(words(server.port))
        assert RESULT_MARK not in killed.stdout
        assert stat.S_IMODE((machine.folder / "run/notify").stat().st_mode) == 0o600
        report = only_result(machine.boot(b"ip=off lvpack.onerror=halt", "--died", "137"))
        assert "SIGKILL" in report.message
        assert events(server) == ["started", "result failed"]
    assert not (machine.folder / "run/notify").exists()


@pytest.mark.starts_processes
def test_one_that_was_killed_before_it_began_by_the_command_line(machine: Machine) -> None:
    with receiving() as server:
        assert only_result(machine.boot(words(server.port), "--died", "137")).status == "failed"
        assert events(server) == ["result failed"]
    assert machine.said() == "halt\n"


@pytest.mark.starts_processes
def test_shells_and_the_menu_tell_nobody(machine: Machine) -> None:
    with receiving() as server:
        machine.boot(words(server.port, more="lvpack.action=shell"))
        assert server.got == []


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without secrets, whose network is up."""
    monkeypatch.setattr(places, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(places, "NETWORK", tmp_path / "network")
    monkeypatch.setattr(places, "NOTIFY", tmp_path / "notify")
    monkeypatch.setattr(firmware, "FW_CFG", tmp_path / "fw_cfg")
    monkeypatch.setattr(firmware, "DMI", tmp_path / "DMI")
    monkeypatch.setattr(firmware, "run", lambda *_, **__: None)
    monkeypatch.setattr(stick, "found", lambda _: ())
    monkeypatch.setattr(send, "SECONDS", 3.0)


def secret(**texts: bytes) -> None:
    places.SECRETS.mkdir(mode=0o700, exist_ok=True)
    for name, text in texts.items():
        (places.SECRETS / name.replace("_", "-")).write_bytes(text)


def settings(*line: str) -> Settings:
    found = parse(["lvpack.action=plan", *line])
    assert found
    return found


class Run:
    """A run that is told of, and what it says."""

    def __init__(self, up: Callable[..., None] = lambda say: None) -> None:
        self.said: list[str] = []
        self.session = Session(action="plan", out=self.said.append)
        self.network: Any = SimpleNamespace(up=up)
        self.notices = Notices(self.of_run)
        self.notices.network = cast(Any, self.network)

    def of_run(self, how: str) -> Secrets:
        def asked(_: str) -> bytes:
            raise AssertionError("nobody is asked")

        return Secrets(how, self.said.append, asked)

    def begin(self, *line: str) -> None:
        found = settings(*line)
        self.notices.begin(found, self.of_run(found.secrets), self.network, self.session)

    def end(self, line: str = "") -> str:
        self.notices.prepare(None, line, is_killed=False)
        forget()
        self.notices.end(Report(status="ok", action="plan", message="done"), self.said.append)
        return "\n".join(self.said)


@pytest.mark.starts_processes
@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("begins", [True, False])
def test_a_url_that_is_a_secret_is_never_shown(begins: bool, tmp_path: Path) -> None:
    with receiving(tmp_path) as server:
        address = f"127.0.0.1:{server.port}"
        secret(
            notify=f"https://{address}/{TOKEN}\n".encode(),
            notify_2=f"get+https://{address}/{TOKEN}/{{status}}".encode(),
            notify_3=f"https://{address}/broken/{TOKEN}".encode(),
            notify_4=f"https://localhost:{server.port}/{TOKEN}".encode(),
            ca=server.ca,
        )
        line = [f"lvpack.notify=secret:{name}" for name in ("notify", "notify-2", "notify-3", "notify-4")]
        run = Run()
        if begins:
            run.begin(*line)
        said = run.end(" ".join(line))
        paths = [request.path for request in server.got]
    assert paths.count(f"/{TOKEN}") == 1 + begins and f"/{TOKEN}/ok" in paths
    assert (f"/{TOKEN}/started" in paths) == begins
    assert "told secret:notify the result" in said
    assert "cannot tell secret:notify-3 the result: it answers 500 Internal Server Error" in said
    assert "cannot tell secret:notify-4 the result: its certificate is not trusted: it is for another name" in said
    assert not any(word in said for word in (TOKEN, "127.0.0.1", "localhost", str(server.port)))


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "there is no secret 'notify'"),
        (b"", "it has no bytes"),
        (b"two\nlines", "several lines"),
        (f"http://h/{TOKEN}".encode(), "goes over https:// only"),
        (f"https://u:{TOKEN}@h/".encode(), "no URL that lvpack.notify takes: a user or password is no part of it"),
        (f"{TOKEN}".encode(), "it must be a URL"),
        (f"get+https://h/{TOKEN}".encode(), "without {status} or {exit}"),
        (f"https://h/{TOKEN}/\xff".encode("latin-1"), "are written as %XX"),
    ],
)
def test_a_secret_that_is_no_receiver_is_a_warning(text: bytes | None, cause: str) -> None:
    if text is not None:
        secret(notify=text)
    run = Run()
    run.begin("lvpack.notify=secret:notify", "lvpack.secrets=ask")
    [warning] = run.session.warnings
    assert warning.startswith("cannot tell secret:notify: ") and cause in warning and TOKEN not in warning
    assert run.end().count("warning") == 1


@pytest.mark.usefixtures("nowhere")
def test_an_authority_that_is_none_is_not_passed_over() -> None:
    secret(ca=b"no certificate")
    with receiving() as server:
        run = Run()
        run.begin("lvpack.notify=https://127.0.0.1:1/", f"lvpack.notify=http://127.0.0.1:{server.port}/")
        assert "cannot use secret 'ca': it has no certificates" in run.session.warnings[0]
        assert events(server) == ["started"]
    (places.SECRETS / "ca").write_bytes(b"")
    run = Run()
    run.begin("lvpack.notify=https://127.0.0.1:1/")
    assert "cannot tell receivers by https://: cannot use secret 'ca'" in run.session.warnings[0]


def fails(_: object) -> None:
    places.NETWORK.mkdir(exist_ok=True)
    raise Failed("cannot reach the share: no link on ens2 after 90 s", hint="check cable")


@pytest.mark.usefixtures("nowhere")
def test_without_a_network_nobody_is_waited_for() -> None:
    run = Run(fails)
    run.begin("lvpack.notify=http://192.0.2.1/x")
    assert run.session.warnings == ["cannot tell anybody of this run: no link on ens2 after 90 s"]
    run.network.up = lambda _: pytest.fail("it was tried")
    began = time.monotonic()
    assert "warning: cannot tell 192.0.2.1 the result: the network did not come up" in run.end()
    assert time.monotonic() - began < 1


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_needs_the_network_itself_waits_for_it_once() -> None:
    run = Run(fails)
    line = "lvpack.notify=http://192.0.2.1/x"
    with pytest.raises(Failed, match="cannot reach the share: no link"):
        run.begin(line, "lvpack.action=verify", "lvpack.source=nfs://h/x/one")
    assert "warning: cannot tell 192.0.2.1 the result: the network did not come up" in run.end(line)


@pytest.mark.usefixtures("nowhere")
def test_a_network_that_breaks_in_an_unforeseen_way_ends_no_run_that_needs_none() -> None:
    def breaks(_: object) -> None:
        places.NETWORK.mkdir(exist_ok=True)
        raise OSError(28, "No space left on device", "/etc/resolv.conf")

    run, line = Run(breaks), "lvpack.notify=http://192.0.2.1/x"
    run.begin(line)
    [warning] = run.session.warnings
    assert warning.startswith("cannot tell anybody of this run: ") and "No space left on device" in warning
    assert "warning: cannot tell 192.0.2.1 the result: the network did not come up" in run.end()
    with pytest.raises(OSError, match="No space left"):
        Run(breaks).begin(line, "lvpack.action=verify", "lvpack.source=nfs://h/x/one")
    places.NETWORK.rmdir()
    assert "warning: cannot tell 192.0.2.1 the result: the network did not come up" in Run(breaks).end(line)


@pytest.mark.usefixtures("nowhere")
def test_what_was_left_of_receivers_goes_where_none_is_fit() -> None:
    run = Run()
    run.begin("lvpack.notify=secret:notify")
    assert places.NOTIFY.exists()
    run.end()
    assert not places.NOTIFY.exists()


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_is_told_to_end_meanwhile_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        raise Ended("told to end")

    with pytest.raises(Ended):
        Run(end).begin("lvpack.notify=http://h/x")
    monkeypatch.setattr(send, "tell", end)
    with pytest.raises(Ended):
        Run().begin("lvpack.notify=http://h/x")
    monkeypatch.setattr(Secrets, "find", end)
    for text in ("https://h/x", "secret:notify"):
        with pytest.raises(Ended):
            Run().begin(f"lvpack.notify={text}")


@pytest.mark.usefixtures("nowhere")
def test_a_defect_here_is_a_warning_that_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError(TOKEN)

    run = Run()
    monkeypatch.setattr(send, "tell", breaks)
    run.begin("lvpack.notify=http://h/x")
    assert run.session.warnings == ["cannot tell anybody of this run: RuntimeError"]
    assert "warning: cannot tell anybody of this run: RuntimeError" in run.end() and TOKEN not in run.end()


@pytest.mark.usefixtures("nowhere")
def test_the_end_has_a_deadline_whatever_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "END_SECONDS", 0.2)
    monkeypatch.setattr(Secrets, "find", lambda *_: time.sleep(2))
    assert "warning: cannot tell the receivers the result: it took too long" in Run().end("lvpack.notify=secret:notify")


@pytest.mark.usefixtures("nowhere")
def test_what_is_left_for_the_agent_after_a_killed_one() -> None:
    assert of_killed() is None
    for text in ("", "[]", "{}", '{"notify": 5, "secrets": "auto"}'):
        places.NOTIFY.write_text(text)
        assert of_killed() is None
    leave(Asked(("https://h/x",), "none"))
    assert of_killed() == Asked(("https://h/x",), "none")


def test_what_a_broken_command_line_asks_for() -> None:
    line = (
        'a=b lvpack.x=y lvpack.notify=https://h/a lvpack.notify=nobody "lvpack.notify=secret:notify" lvpack.secrets=x'
    )
    assert of_words(line) == Asked(("https://h/a", "secret:notify"), "auto")
    assert of_words(f"{line} lvpack.secrets=none").secrets == "none"
    assert of_words("quiet") == Asked()


def test_a_network_that_failed_and_one_that_nobody_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "NETWORK", tmp_path / "network")
    assert not up.has_failed()
    places.NETWORK.mkdir()
    assert up.has_failed()
    (places.NETWORK / up.MARK).touch()
    assert not up.has_failed()
