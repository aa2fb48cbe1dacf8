from pathlib import Path

from lvpack_agent.devices import dmsetup
from lvpack_agent.overlay.packed import packed_table
from lvpack_agent.plan.make import make_plan
from tests.agent.builders.layouts import MARGIN, blog_layout


def test_the_packed_table_covers_the_packed_disk(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    rows = [line.split() for line in packed_table(plan, ["/dev/mapper/x"]).splitlines()]
    at = 0
    for start, count, *_ in rows:
        assert int(start) == at
        at += int(count)
    assert at * dmsetup.SECTOR == plan.packed_size
