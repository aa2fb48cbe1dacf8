from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.layout import ranges
from lvpack_agent.layout.ranges import Range

some_ranges = st.lists(st.builds(Range, start=st.integers(0, 20), count=st.integers(0, 6)))


@given(some_ranges, st.integers(0, 20))
def test_complement_holds_exactly_what_the_ranges_do_not(parts: list[Range], size: int) -> None:
    inside = {n for r in parts for n in range(r.start, r.end) if n < size}
    outside = [n for r in ranges.complement(parts, size) for n in range(r.start, r.end)]
    assert sorted({*inside, *outside}) == list(range(size))
    assert len(outside) == len(set(outside)) == size - len(inside)


@given(some_ranges)
def test_joined_ranges_are_apart_and_the_same_bytes(parts: list[Range]) -> None:
    found = ranges.joined(parts)
    assert [n for r in found for n in range(r.start, r.end)] == sorted(
        {n for r in parts for n in range(r.start, r.end)}
    )
    assert all(a.end < b.start for a, b in pairwise(found))


@given(some_ranges, st.integers(0, 20), st.integers(0, 10))
def test_a_piece_is_what_is_within_the_ranges_and_what_is_outside(parts: list[Range], at: int, count: int) -> None:
    lookup, inside = ranges.Lookup(parts), {n for r in parts for n in range(r.start, r.end)}
    within, outside = lookup.within(at, count), lookup.outside(at, count)
    piece = range(at, at + count)
    assert [n for r in within for n in range(r.start, r.end)] == [n for n in piece if n in inside]
    assert [n for r in outside for n in range(r.start, r.end)] == [n for n in piece if n not in inside]
    assert all(r.count > 0 for r in (*within, *outside))
