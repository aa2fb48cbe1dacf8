"""The one door to processes."""

import pytest

from lvpack_agent.processes import TICK_SECONDS, run

pytestmark = pytest.mark.starts_processes


def test_a_slow_program_gets_all_of_a_long_input() -> None:
    text = "x" * (1 << 20)  # more than a pipe holds
    ticks: list[None] = []
    script = f"sleep {2 * TICK_SECONDS}; wc -c"
    answer = run(["sh", "-c", script], input=text, tick=lambda: ticks.append(None), timeout=30)
    assert answer.stdout.strip() == str(len(text))
    assert ticks
