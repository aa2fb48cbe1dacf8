"""Arithmetic of extents, and the map of who shares what, against sets of bytes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.sizes import MIB
from lvpack_agent.trees import extents
from lvpack_agent.trees.extents import Allocation, Extent
from lvpack_agent.trees.sharing import Sharing

RANGES = st.lists(st.integers(0, 40), unique=True, max_size=12).map(
    lambda cuts: [Allocation(a, b, bool(a % 2)) for a, b in zip(*[iter(sorted(cuts))] * 2, strict=False)]
)


def covered(ranges: object) -> set[int]:
    assert isinstance(ranges, list)
    return {at for start, end, *_ in ranges for at in range(start, end)}


@given(RANGES, RANGES)
def test_what_is_left_of_ranges_without_others(pieces: list[Allocation], others: list[Allocation]) -> None:
    assert covered(extents.minus(pieces, others)) == covered(pieces) - covered(others)


def test_kinds_of_blocks_are_told_apart_at_the_end_of_a_file() -> None:
    found = [
        Extent(0, 4096, 1, True, False),
        Extent(4096, 8192, 9, True, True),
        Extent(8192, 12288, 5, False, False),
        Extent(16384, 24576, 7, True, False),
    ]
    assert extents.allocations(found, 16385, 4096, False) == [
        Allocation(0, 8192, True),
        Allocation(8192, 12288, False),
        Allocation(16384, 20480, True),
    ]
    assert extents.allocations(found, 16385, 4096, True)[-1] == Allocation(20480, 24576, False)
    assert extents.allocations(found, 0, 4096, True)[0] == Allocation(0, 12288, False)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=30))
def test_the_map_knows_what_it_was_told(lookups: list[tuple[int, int]]) -> None:
    """Each look-up adds what was in no map yet, as a copy does, in units that cross the parts of the map."""
    unit = MIB
    known: Sharing[int] = Sharing()
    told: dict[int, tuple[int, int]] = {}
    for number, (first, count) in enumerate(lookups):
        pieces = list(known.look_up(first * unit, (first + count) * unit))
        assert pieces[0].start == first * unit and pieces[-1].end == (first + count) * unit
        assert all(a.end == b.start for a, b in itertools.pairwise(pieces))
        for piece in pieces:
            for at in range(piece.start // unit, piece.end // unit):
                where, base = told.get(at, (None, 0))
                assert piece.where == where
                if where is not None:
                    assert piece.offset + at * unit - piece.start == base
            if piece.where is None:
                known.add(piece.start, piece.end, number, piece.start + 7)
                told |= {at: (number, at * unit + 7) for at in range(piece.start // unit, piece.end // unit)}
