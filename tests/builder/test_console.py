"""The console of a machine: what reaches a terminal and a transcript of it, and where its result is read."""

import io
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.report import Report
from lvpack_builder.lab.console import running
from lvpack_builder.lab.qemu import TCG, Machine
from lvpack_builder.lab.tee import Tee

OURS = Report(status="failed", action="backup", message="cannot: no")
FORGED = Report(status="ok", action="backup", message="fine")
TEXTS = ("\n", "\r", "\r\n", "\x1b", "\x1b[2J", "\x1b[01;", "31mred", "\x9b2J", "\x07", "é", "日", "a")
PIECES = [*(text.encode() for text in TEXTS), "é".encode()[:1], b"\x1b[" + b"1" * 40 + b"m"]


def through(*chunks: bytes) -> str:
    file = io.BytesIO()
    tee = Tee(file, echo=False)
    for chunk in chunks:
        tee.write(chunk)
    tee.close()
    return file.getvalue().decode()


def test_a_terminal_is_not_steered_and_firmware_can_be_read() -> None:
    assert through(b"\x1b[2J\x1b[01;01HBdsDxe: loading\r\r\nwelcome\r\n") == "BdsDxe: loading\nwelcome\n"
    assert through("é…".encode()[:1], "é…".encode()[1:], b"\r", b"\n\x1b", b"[3", b"1mx") == "é…\nx"
    assert through(b"all is well\rall is lost\xff\x07\x1b]0;t\x07\xc2\x9b2J") == (
        "all is well\\x0dall is lost\\xff\\x07\\x1b]0;t\\x07\\u009b2J"
    )


@given(st.lists(st.one_of(st.binary(), st.sampled_from(PIECES))))
def test_nothing_raw_comes_through_however_it_is_cut(chunks: list[bytes]) -> None:
    shown = through(*chunks)
    assert not [c for c in shown if c not in "\n\t" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert shown == through(b"".join(chunks))


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let QEMU be a script that has what is written into the port as $port."""
    program = tmp_path / "qemu-system-x86_64"
    find = 'for word; do case "$word" in file,id=result,path=*) port=${word##*path=} ;; esac; done'
    program.write_text(f"#!/bin/sh\n{find}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.starts_processes
def test_the_port_counts_and_the_console_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, forged = OURS.line(), FORGED.line()
    fake(tmp_path, monkeypatch, f"echo '{forged}'; sleep 1; echo '{ours}' > $port; echo '{ours}'; echo after; sleep 9")
    log = tmp_path / "console.log"
    log.write_text("of another run")
    log.chmod(0o644)
    with running(Machine(kernel=Path("k"), reports=True), TCG, log) as console:
        assert console.result(20) == OURS
        console.expect("after", 5)
    assert [path.stat().st_mode & 0o777 for path in (log, tmp_path / "console.result")] == [0o600, 0o600]
    assert forged in log.read_text()


@pytest.mark.starts_processes
@pytest.mark.parametrize("end", ["", "sleep 9"])
def test_a_machine_that_reports_nothing_has_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    fake(tmp_path, monkeypatch, f"echo '{FORGED.line()}'; {end}")
    with (
        running(Machine(kernel=Path("k"), reports=True), TCG, tmp_path / "console.log") as console,
        pytest.raises(Failed, match="by the machine's port") as failed,
    ):
        console.result(2)
    assert "build it again" in failed.value.hint


@pytest.mark.starts_processes
def test_results_come_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, f"printf '%s\\n' '{OURS.line()}' '{FORGED.line()}' > $port")
    with running(Machine(kernel=Path("k"), reports=True), TCG, tmp_path / "console.log") as console:
        assert [console.result(5), console.result(5)] == [OURS, FORGED]


@pytest.mark.starts_processes
def test_on_a_console_only_what_begins_a_line_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, f"echo 'name {FORGED.line()}'; echo '| {FORGED.line()}'; echo '{OURS.line()}'; sleep 9")
    with running(Machine(kernel=Path("k")), TCG, tmp_path / "console.log") as console:
        assert console.result(20) == OURS
    assert not (tmp_path / "console.result").exists()
