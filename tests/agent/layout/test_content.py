from pathlib import Path

from lvpack_agent.layout.ranges import Range
from tests.agent.builders.layouts import ext


def test_a_store_estimate_counts_used_blocks_beyond_the_new_end(blog: Path) -> None:
    content = ext(100 * 4096, 10 * 4096, (Range(start=20, count=30), Range(start=60, count=40)))
    assert content.used_beyond(0) == 30 * 4096
    assert content.used_beyond(50 * 4096) == 10 * 4096
    assert content.used_beyond(100 * 4096) == 0
