from dataclasses import replace

from lvpack_agent.layout.extents import Move
from lvpack_agent.lvm import pvmove
from tests.agent.builders.recordings import lv, reported


def test_pvmove_that_is_under_way_or_was_cut_off_at_its_end() -> None:
    running, cut_off, plain = (reported(name) for name in ("pvmove", "pvmove-cut-off", "several-pvs"))
    assert [bool(pvmove.under_way(vg)) for vg in (running, cut_off, plain)] == [True, False, False]
    assert [pvmove.left_over(vg) for vg in (running, plain)] == [None, None]
    assert pvmove.left_over(cut_off) == lv(cut_off, "pvmove0")


def test_a_pvmove_is_known_by_the_extents_that_it_moves() -> None:
    """It may be of another plan, whose store is gone."""
    running = pvmove.under_way(reported("pvmove"))
    assert running
    move = Move(pv="pv", source=0, target=0, count=200, to="other")
    assert pvmove.is_of(running, move)
    assert not pvmove.is_of(running, replace(move, count=199))
    assert not pvmove.is_of(running, replace(move, source=1))
