"""Tasks that run side by side: results in order, the first error in order, and none running after it."""

import threading
import time

import pytest

from lvpack_agent import parallel


def test_results_are_in_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "available_memory", lambda: 4 * parallel.TASK_MEMORY)

    def task(number: int) -> int:
        time.sleep((5 - number) / 100)
        return number

    assert parallel.each(task, range(5)) == [0, 1, 2, 3, 4]


def test_first_error_is_raised_when_nothing_runs_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "available_memory", lambda: 4 * parallel.TASK_MEMORY)
    running = set()

    def task(number: int) -> None:
        running.add(number)
        time.sleep(0.02)
        running.discard(number)
        if number > 1:
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        parallel.each(task, range(20))
    assert not running


@pytest.mark.parametrize(("reserved", "most"), [(0, 2), (3, 1), (9, 1)])
def test_little_memory_has_one_at_a_time(monkeypatch: pytest.MonkeyPatch, reserved: int, most: int) -> None:
    monkeypatch.setattr(parallel, "available_memory", lambda: 4 * parallel.TASK_MEMORY)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    barrier = threading.Barrier(2)

    def meets_another(_: int) -> bool:
        try:
            barrier.wait(0.3)
        except threading.BrokenBarrierError:
            return False
        return True

    assert all(parallel.each(meets_another, range(2), reserved * parallel.TASK_MEMORY)) == (most == 2)
