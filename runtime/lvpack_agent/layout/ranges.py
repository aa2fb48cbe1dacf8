"""Ranges of bytes, blocks or extents, and their arithmetic."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """count bytes, blocks or extents, from start on."""

    start: int
    count: int

    @property
    def end(self) -> int:
        """The first byte, block or extent after the range."""
        return self.start + self.count


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the ranges in ascending order; those that touch or overlap are joined, empty ones left out."""
    result: list[Range] = []
    for part in sorted((r for r in ranges if r.count > 0), key=lambda r: r.start):
        if result and part.start <= result[-1].end:
            result[-1] = Range(start=result[-1].start, count=max(result[-1].end, part.end) - result[-1].start)
        else:
            result.append(part)
    return tuple(result)


def complement(ranges: Iterable[Range], size: int) -> tuple[Range, ...]:
    """Return the parts of 0 to size that are in none of the ranges."""
    result, at = [], 0
    for part in joined(ranges):
        result.append(Range(start=at, count=min(part.start, size) - at))
        at = part.end
    result.append(Range(start=at, count=size - at))
    return tuple(r for r in result if r.count > 0)


class Lookup:
    """Ranges, with a quick search for those in one place."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._ranges = joined(ranges)
        self._ends = [r.end for r in self._ranges]

    def within(self, at: int, count: int) -> list[Range]:
        """Return the parts of count bytes from at on that are in the ranges, in ascending order."""
        found = []
        for index in range(bisect.bisect_right(self._ends, at), len(self._ranges)):
            part = self._ranges[index]
            start, end = max(at, part.start), min(at + count, part.end)
            if start >= end:
                break
            found.append(Range(start=start, count=end - start))
        return found

    def outside(self, at: int, count: int) -> list[Range]:
        """Return the parts of count bytes from at on that are in none of the ranges, in ascending order."""
        found, end = [], at
        for part in (*self.within(at, count), Range(start=at + count, count=0)):
            if part.start > end:
                found.append(Range(start=end, count=part.start - end))
            end = part.end
        return found
