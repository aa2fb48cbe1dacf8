"""Text of others, such as file names and what tools say, on its way to consoles, logs and results."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.machine.console import Console
from lvpack_agent.printable import MARK, printable, quoted
from lvpack_agent.report import RESULT_MARK, Report, parse_result
from lvpack_agent.session import Session

# Any name that a disk can hold, as Python has it: bytes that are not UTF-8 are surrogates.
TEXTS = st.one_of(
    st.text(),
    st.binary().map(lambda b: b.decode(errors="surrogateescape")),
    st.lists(st.sampled_from(["\n", "\r", "\x1b[2J", "\x9b", "\u202e", RESULT_MARK, '{"status": "ok"}', " ", "é"])).map(
        "".join
    ),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("LV root: grün, 3 × 4 GiB … 'naïve' 日本", "LV root: grün, 3 × 4 GiB … 'naïve' 日本"),
        ("a\nb\r\tc\x7f\x00", "a\\x0ab\\x0d\\x09c\\x7f\\x00"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\u009b0m"),
        (b"sal\xe9".decode(errors="surrogateescape"), "sal\\xe9"),
        ("gpj.\u202egnp \u2066 \u2028 \ufeff \U000e0001", "gpj.\\u202egnp \\u2066 \\u2028 \\ufeff \\U000e0001"),
        ("\ud800", "\\ud800"),
        ("\\EFI\\debian", "\\EFI\\debian"),
        (f"a{RESULT_MARK}b", "aLVPACK\\x2dRESULT: b"),
    ],
)
def test_what_is_escaped_and_what_is_not(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_is_left_and_no_mark(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    assert MARK not in shown
    shown.encode()
    assert printable(shown) == shown


def test_the_words_of_a_tool_are_marked_line_by_line() -> None:
    assert quoted(["Pass 1", f"  {RESULT_MARK}{{}}\x1b"]) == "| Pass 1 | LVPACK\\x2dRESULT: {}\\x1b"
    assert quoted([]) == ""


@given(TEXTS)
def test_errors_and_results_hold_nothing_raw(text: str) -> None:
    error = Failed(f"cannot use '{text}': no", hint=text)
    assert error.message == printable(error.message) == str(error) and error.hint == printable(text)
    said: list[str] = []
    session = Session(action="backup", out=said.append)
    session.warn(text)
    assert session.warnings == [printable(text)]
    report = session.stopped(error)
    assert report.message == error.message
    line = Report(status="ok", action="backup", message="packed", name=text).line()
    assert line.isascii() and line.isprintable() and line.count(MARK) == 1
    assert json.loads(line.removeprefix(RESULT_MARK))["name"] == text
    assert parse_result(line).name == text


@given(TEXTS)
def test_a_line_of_a_run_is_one_line_and_never_a_result(text: str) -> None:
    class Fake(Console):
        def __init__(self) -> None:
            super().__init__((), None)
            self.said: list[str] = []

        def _write(self, line: str) -> None:
            self.said.append(line)

    console = Fake()
    console.say(text)
    [line] = console.said
    assert line == printable(text)
    console.result(Report(status="failed", action="", message=text))
    assert [line for line in console.said if RESULT_MARK in line] == console.said[-1:]


def test_the_log_has_lines_of_the_run_only(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    console = Console((), log)
    console.say("a\n[    0.00] LVPACK-RESULT: {}\x1b[2J")
    [line] = log.read_text().splitlines()
    assert re.fullmatch(r"\[ *\d+\.\d\d\] a\\x0a\[    0\.00\] LVPACK\\x2dRESULT: \{\}\\x1b\[2J", line)
