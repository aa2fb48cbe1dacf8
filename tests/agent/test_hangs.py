"""A program that does nothing any more is ended and named; one that works, or waits for what is slow, is not."""

import os
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lvpack_agent import hangs, places, processes
from lvpack_agent.errors import Failed
from lvpack_agent.processes import run

pytestmark = pytest.mark.starts_processes

DISKSTATS = "   8       0 sda 1 2 3 4 5 6 7 8 {} 10 11 12 13 14 15 16 17\n 259 0 nvme0n1 1 2 3 4 5 6 7 8 0 10 11\n"
BUSY = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
WRITING = "import time\nfor _ in range(30): time.sleep(0.05); print(end='x', flush=True)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(hangs, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(hangs, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(processes, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    monkeypatch.setattr(places, "HUNG", tmp_path / "hung")
    # Disks of the machine that tests are busy, too.
    monkeypatch.setattr(hangs, "in_flight", lambda text: False)
    monkeypatch.setattr(hangs, "unwritten", lambda: (0, 0))
    yield


def test_a_program_that_does_nothing_is_ended_and_named() -> None:
    begun = time.monotonic()
    with pytest.raises(Failed, match="cannot finish 'sleep 60': sleep did nothing for 0 s") as failed:
        run(["sleep", "60"])
    assert time.monotonic() - begun < 10 and "dmesg" in failed.value.hint


def test_what_it_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "END_SECONDS", 0.3)
    with pytest.raises(Failed, match="sh did nothing"):
        run(["sh", "-c", f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60"])
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    for _ in range(50):  # a signal takes a moment to arrive
        if not child.exists() or ") Z" in child.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(child.read_text())


@pytest.mark.parametrize("script", [BUSY, WRITING])
def test_a_program_that_computes_or_writes_does_not_hang(script: str) -> None:
    run([sys.executable, "-c", script])


def test_the_child_of_a_program_may_be_the_one_that_works() -> None:
    run(["sh", "-c", '"$0" -c "$1" & wait', sys.executable, BUSY])


def test_what_has_the_terminal_may_wait_for_keys() -> None:
    run(["sleep", "1.5"], capture=False)


def test_processor_time_is_seen_where_io_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/PID/io of a program of another user is for root alone."""
    monkeypatch.setattr(hangs, "PROC", tmp_path)
    (tmp_path / "7/task").mkdir(parents=True)
    found = []
    for ticks in (5, 6):
        (tmp_path / "7/stat").write_text(f"7 (a) b) S 1 2 3 4 5 6 7 8 9 10 {ticks} 0 0\n")
        found.append(hangs.activity(7))
    assert found[0] != found[1]


def test_the_clock_stands_still_while_the_share_is_out() -> None:
    places.AWAY.touch()
    run(["sleep", "1.5"])


def test_the_clock_stands_still_while_requests_to_disks_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hangs, "in_flight", lambda text: True)
    run(["sleep", "1.5"])


@pytest.mark.parametrize(
    ("step", "hung"),
    [
        ((-64, 0), False),  # sync, while a slow share takes what is in the cache
        ((-10, 64), False),  # as much is written to the cache meanwhile
        ((-4, 0), True),  # a claim that is rewritten
        ((64, 0), True),  # what is only written to the cache
        ((0, 0), True),  # a server that answers, and takes nothing
    ],
)
def test_what_waits_for_pages_to_be_written_does_not_hang_while_they_are(
    step: tuple[int, int], hung: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count()

    def unwritten() -> tuple[int, int]:
        number = next(looks)
        return 10_000 + number * step[0], 1_000 + number * step[1]

    monkeypatch.setattr(hangs, "unwritten", unwritten)
    if hung:
        with pytest.raises(Failed, match="sleep did nothing"):
            run(["sleep", "60"])
    else:
        run(["sleep", "1.5"])


def test_the_pages_that_are_to_be_written_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("Dirty:    4104 kB\nWriteback:    520 kB\nHugePages_Total:    0\n")
    monkeypatch.undo()
    monkeypatch.setattr(hangs, "PROC", tmp_path)
    assert hangs.unwritten() == (4104, 520)


def test_a_program_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that sleeps in the kernel; others that hang after it get less time."""
    monkeypatch.setattr(processes, "END_SECONDS", 0.1)
    sent: list[tuple[int, int]] = []
    with monkeypatch.context() as patched, pytest.raises(Failed, match="nothing for 0 s, and cannot be ended"):
        patched.setattr(os, "kill", lambda *what: sent.append(what))
        run(["sleep", "5"])
    assert len(sent) >= 2 and places.HUNG.exists()
    monkeypatch.setattr(hangs, "HUNG_AGAIN_SECONDS", 0.2)
    assert hangs.limit_seconds() == 0.2


def test_a_machine_that_stood_still_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hangs, "HUNG_SECONDS", 600.0)
    monkeypatch.setattr(hangs, "LOOK_SECONDS", 5.0)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    idleness = hangs.Idleness(os.getppid())
    monkeypatch.setattr(hangs, "activity", lambda pid: "the same")
    for now[0] in (6.0, 5000.0, 5006.0):
        assert not idleness.hangs()
