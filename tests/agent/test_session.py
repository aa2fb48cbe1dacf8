"""What a session says, and the result that it ends with."""

import json
import time

import pytest

from lvpack_agent import progress
from lvpack_agent.errors import Refused
from lvpack_agent.report import RESULT_MARK, parse_result
from lvpack_agent.session import Session


def session(said: list[str]) -> Session:
    return Session(action="backup", out=said.append)


def test_phases_are_announced_and_timed_also_when_they_fail() -> None:
    said: list[str] = []
    run = session(said)
    with run.phase("read_back"):
        pass
    with pytest.raises(Refused), run.phase("dump"):
        time.sleep(0.05)
        raise Refused("no")
    assert said == ["== read back", "== dump"]
    assert run.timings.read_back >= 0 and run.timings.dump >= 0.05
    assert run.timings.probe < 0, "that phase was not there"
    with run.phase("dump"):
        time.sleep(0.05)
    assert run.timings.dump >= 0.1, "repeated phases are added up"


def test_the_result_line_has_what_is_known_and_nothing_else() -> None:
    said: list[str] = []
    run = session(said)
    run.measured(packed_disk=5)
    run.measured(image=3)
    run.warn("careful")
    with run.phase("read_back"):
        pass
    line = run.ended("packed").line()
    form = json.loads(line.removeprefix(RESULT_MARK))
    assert form["sizes"] == {"packed_disk": 5, "image": 3}
    assert list(form["timings"]) == ["read back"]
    assert (form["status"], form["warnings"]) == ("ok", ["careful"])
    assert said[0] == "warning: careful"
    assert parse_result(f"[ 12.3] console noise {line}") == run.ended("packed")


def test_a_refused_run_says_what_to_do_about_it() -> None:
    report = session([]).stopped(Refused("cannot", hint="do this"))
    assert (report.status, report.message, report.hint) == ("refused", "cannot", "do this")


def test_a_line_without_its_mark_is_no_result() -> None:
    with pytest.raises(ValueError, match="no result line"):
        parse_result('{"status": "ok"}')


def test_that_the_run_was_told_to_end_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread may wait for another one, or for the share, and people look whether the button does anything."""
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.01)
    said: list[str] = []
    run = Session(action="backup", out=said.append, is_ending=lambda: True)
    with run.speaking():
        time.sleep(0.2)
    assert ["told to end" in line for line in said] == [True]


def test_a_result_that_is_not_ok_always_says_what_to_do() -> None:
    run = session([])
    assert run.stopped(Refused("cannot run 'e2fsck'")).hint
    assert run.stopped(Refused("cannot run 'e2fsck'", hint="look")).hint == "look"
