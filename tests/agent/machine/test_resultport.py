"""The port by which a hypervisor gets the result; a file, or a pipe, stands for it."""

import os
import time
from pathlib import Path

import pytest

from lvpack_agent.machine import resultport
from lvpack_agent.machine.console import Console
from lvpack_agent.report import Report

REPORT = Report(status="refused", action="backup", message="cannot: no")


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resultport, "PORT", tmp_path / "port")
    return tmp_path / "port"


def test_the_hypervisor_gets_the_result_and_nothing_else(port: Path, tmp_path: Path) -> None:
    port.touch()
    (tmp_path / "tty").touch()
    console = Console((tmp_path / "tty",), None)
    console.say(REPORT.line())
    console.result(REPORT)
    assert port.read_text() == f"{REPORT.line()}\n"
    assert (tmp_path / "tty").read_bytes().endswith(f"\r\n{REPORT.line()}\r\n".encode())


def test_a_machine_without_such_a_port_makes_none(port: Path) -> None:
    resultport.send("line")
    assert not port.exists()


def test_a_hypervisor_that_takes_nothing_holds_up_nobody(port: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resultport, "STALLED_SECONDS", 0.1)
    os.mkfifo(port)
    reader = os.open(port, os.O_RDONLY | os.O_NONBLOCK)
    try:
        begun = time.monotonic()
        resultport.send("x" * (1 << 20))
        assert time.monotonic() - begun < 5
    finally:
        os.close(reader)
