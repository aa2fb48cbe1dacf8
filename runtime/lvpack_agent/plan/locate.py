"""From a byte of a packed disk back to the source disk that has it: arithmetic alone."""

from collections.abc import Iterator

from lvpack_agent.layout.spots import Spot, spots
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.plan.values import Plan


def in_source(plan: Plan, index: int, start: int, count: int) -> Iterator[Spot]:
    """Yield where count bytes of a packed disk, from byte start on, are on the source's disks, in their order.

    index is that of the packed disk. Bytes that are zeros, not read from anywhere, are in no spot. What the store has
    is where it was on the source before it was written anew.
    """
    at, end = 0, start + count
    for stretch in stretches(plan, index):
        first, last = max(start, at), min(end, at + stretch.size)
        if stretch.disk is not None and first < last:
            yield from spots(plan.source, stretch.disk, stretch.offset + first - at, last - first)
        at += stretch.size
