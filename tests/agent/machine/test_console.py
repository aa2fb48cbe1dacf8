import os
import time
from pathlib import Path

import pytest

from lvpack_agent.machine import console
from lvpack_agent.machine.console import Console, named


def test_consoles_of_a_command_line() -> None:
    line = "quiet console=tty0 console=ttyS0,115200n8 lvpack.console=no console=ttyS1 console=null"
    assert named(line) == {"tty0": "", "ttyS0": "115200", "ttyS1": ""}


def test_every_line_goes_to_every_console_and_to_the_log(tmp_path: Path) -> None:
    devices = [tmp_path / name for name in ("tty0", "ttyS0")]
    for device in devices:
        device.touch()
    log = tmp_path / "run/agent.log"
    screen = Console((devices[0], tmp_path / "not-there", devices[1]), log)
    screen.say("one")
    screen.say("two\nthree\x1b[2J")
    screen.say("grün \udcff")
    for device in devices:
        assert device.read_bytes() == "one\r\ntwo\\x0athree\\x1b[2J\r\ngrün \\xff\r\n".encode()
    assert [line[11:] for line in log.read_text().splitlines()] == ["one", r"two\x0athree\x1b[2J", r"grün \xff"]
    assert all(line.startswith("[") for line in log.read_text().splitlines())


def test_a_later_run_leaves_the_log_of_the_first_and_returns_its_own(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    first = Console((), log)
    first.say("one")
    assert first.logged().endswith("one\n")
    second = Console((), log)
    second.say("two\r=== another run")
    assert second.logged()[11:] == "two\\x0d=== another run\n"
    assert "one\n=== another run, 2" in log.read_text()
    assert Console((), None).logged() == "" and Console((), tmp_path / "no" / "log").logged() == ""


def test_a_console_that_takes_nothing_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a serial line with flow control and nobody at its other end."""
    monkeypatch.setattr(console, "STALLED_SECONDS", 0.05)
    path = tmp_path / "ttyS1"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        screen = Console((path,), None)
        begun = time.monotonic()
        for _ in range(40):
            screen.say("x" * 4000)  # more than a pipe holds
        assert time.monotonic() - begun < 20
        assert os.read(reader, 1 << 20).startswith(b"xxx")
        screen.say("heard again")
        assert os.read(reader, 1 << 20).endswith(b"heard again\r\n")
    finally:
        os.close(reader)
