"""Which image set is the one that an in-place run has written: no clock tells."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.inplace.dump import is_of_run
from tests.agent.builders.journals import blog_record
from tests.agent.builders.sets import manifest

BEFORE, AFTER = "2026-05-31T00:00:00Z", "2026-06-01T00:00:00Z"


@pytest.mark.parametrize(
    ("runs", "times", "same"),
    [
        (("a", "a"), (BEFORE, AFTER), True),
        (("a", "a"), (AFTER, BEFORE), True),  # the clock went back
        (("a", "b"), (BEFORE, AFTER), False),
        (("a", ""), (BEFORE, AFTER), False),  # a set that was there before
        (("", ""), (BEFORE, AFTER), True),  # as older versions have it
        (("", ""), (AFTER, BEFORE), False),
    ],
)
def test_a_set_is_of_the_run_that_it_names(
    blog: Path, runs: tuple[str, str], times: tuple[str, str], same: bool
) -> None:
    record = replace(blog_record(blog), run=runs[0], created=times[0])
    assert is_of_run(replace(manifest(), run=runs[1], created=times[1]), record) == same
