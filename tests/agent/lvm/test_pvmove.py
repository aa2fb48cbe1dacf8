from lvpack_agent.lvm import pvmove
from tests.agent.builders.recordings import lv, reported


def test_pvmove_that_is_under_way_or_was_cut_off_at_its_end() -> None:
    running, cut_off, plain = (reported(name) for name in ("pvmove", "pvmove-cut-off", "several-pvs"))
    assert [bool(pvmove.under_way(vg)) for vg in (running, cut_off, plain)] == [True, False, False]
    assert [pvmove.left_over(vg) for vg in (running, plain)] == [None, None]
    assert pvmove.left_over(cut_off) == lv(cut_off, "pvmove0")
