"""A map of shared blocks: for each range of one filesystem, where its copy is in another."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from lvpack_agent.sizes import MIB

# The map is cut into parts of this size, so that each is a short list.
_PART = 16 * MIB

W = TypeVar("W")


class Known(NamedTuple, Generic[W]):
    """A range of bytes of a device, whose copy begins at `offset` of `where`; where is None if there is no copy yet."""

    start: int
    end: int
    where: W | None
    offset: int


class Sharing(Generic[W]):
    """Where the copies of a device's blocks are; the ranges, in bytes of the device, never overlap."""

    def __init__(self) -> None:
        self._parts: dict[int, list[Known[W]]] = {}

    def add(self, start: int, end: int, where: W, offset: int) -> None:
        """Note that the copy of a range, of which nothing was known, begins at offset of where."""
        while start < end:
            stop = min(end, start - start % _PART + _PART)
            part = self._parts.setdefault(start // _PART, [])
            part.insert(bisect_right(part, start, key=_start), Known(start, stop, where, offset))
            offset += stop - start
            start = stop

    def look_up(self, start: int, end: int) -> Iterator[Known[W]]:
        """Yield what is known of a range, in order; where nothing is known, a Known whose where is None."""
        gap = start
        while start < end:
            stop = min(end, start - start % _PART + _PART)
            part = self._parts.get(start // _PART, [])
            index = max(0, bisect_right(part, start, key=_start) - 1)
            for known in part[index:]:
                if known.start >= stop:
                    break
                first, last = max(known.start, start), min(known.end, stop)
                if first >= last:
                    continue
                if gap < first:
                    yield Known(gap, first, None, 0)
                yield Known(first, last, known.where, known.offset + first - known.start)
                gap = last
            start = stop
        if gap < end:
            yield Known(gap, end, None, 0)


def _start(known: Known[W]) -> int:
    return known.start
