from collections.abc import Iterator

import pytest

from lvpack_agent.progress import INTERVAL_SECONDS, Progress, clock
from lvpack_agent.sizes import MIB


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (7207, "2:00:07")])
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_line_is_said_when_it_is_due_and_not_before() -> None:
    said: list[str] = []
    times: Iterator[float] = iter([0, INTERVAL_SECONDS / 2, INTERVAL_SECONDS, INTERVAL_SECONDS, INTERVAL_SECONDS + 1])
    progress = Progress("dump", 12 * MIB, said.append, lambda: next(times))
    progress.add(3 * MIB)
    assert said == []
    progress.add(3 * MIB)
    assert said == ["dump: 6.00 MiB of 12.0 MiB (50 %), 2.00 MiB/s, 0:03 so far, 0:03 left"]
    progress.at(7 * MIB)
    assert len(said) == 1, "a second after the last line none is due"
    assert progress.done == 7 * MIB


def test_a_total_that_is_unknown_or_too_small_gives_no_wrong_promise() -> None:
    seconds = iter([0.0, 2.0, 0.0, 2.0])
    assert Progress("move", 0, print, lambda: next(seconds)).line() == "move: 0 B, 0 B/s, 0:02 so far"
    late = Progress("shrink", MIB, print, lambda: next(seconds))
    late.done = 4 * MIB
    assert late.line() == "shrink: 4.00 MiB of 1.00 MiB (100 %), 2.00 MiB/s, 0:02 so far, 0:00 left"
