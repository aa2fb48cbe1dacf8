"""The one door to processes."""

import time

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.processes import TICK_SECONDS, ToolFailed, run

pytestmark = pytest.mark.starts_processes


def test_a_slow_program_gets_all_of_a_long_input() -> None:
    text = "x" * (1 << 20)  # more than a pipe holds
    ticks: list[None] = []
    script = f"sleep {2 * TICK_SECONDS}; wc -c"
    answer = run(["sh", "-c", script], input=text, tick=lambda: ticks.append(None), timeout=30)
    assert answer.stdout.strip() == str(len(text))
    assert ticks


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("echo one >&2; echo two >&2; exit 3", "exit status 3: | one | two"),
        ("echo only here; exit 4", "exit status 4: | only here"),
        ("kill -TERM $$", "killed by SIGTERM"),
    ],
)
def test_each_bad_end_has_a_message_of_its_own(script: str, cause: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        run(["sh", "-c", script], ok=(0, 1))
    assert failed.value.message.startswith("cannot run 'sh -c ")
    assert failed.value.message.endswith(f"': {cause}")


def test_a_missing_program_is_told_from_one_that_fails() -> None:
    with pytest.raises(Failed, match="cannot run 'lvpack-has-none-such': no such program"):
        run(["lvpack-has-none-such"])


def test_statuses_that_are_expected_are_no_failure() -> None:
    answer = run(["sh", "-c", "echo said; echo complained >&2; exit 8"], ok=(0, 8))
    assert (answer.status, answer.stdout, answer.stderr) == (8, "said\n", "complained\n")


def test_programs_have_a_fixed_locale_and_nothing_to_read() -> None:
    assert run(["sh", "-c", "cat; echo $LC_ALL $EXTRA"], env={"EXTRA": "more"}).stdout == "C.UTF-8 more\n"


def test_a_program_that_hangs_is_killed() -> None:
    begun = time.monotonic()
    with pytest.raises(Failed, match="cannot finish 'sleep 60': it hangs"):
        run(["sleep", "60"], timeout=TICK_SECONDS / 2)
    assert time.monotonic() - begun < 30
