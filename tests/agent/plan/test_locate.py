"""The way back from a byte of a packed disk, or of a disk, to the LV that has it: against the way there."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.image import blockmap
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.spots import FREE_EXTENTS, Spot, spots
from lvpack_agent.plan.locate import in_source
from lvpack_agent.plan.make import make_plan
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout, servers

STEP = 4 * KIB


def places(layout: Layout, lv: str, at: int) -> set[tuple[int, int]]:
    """Where the blockmap's arithmetic has a byte of an LV: disk and byte there."""
    [vg] = layout.vgs
    found = set()
    for index in range(len(layout.disks)):
        starts = {pv.uuid: layout.first_extent(pv) for pv in vg.pvs if pv.disk == index}
        placed = blockmap.place([Range(start=at, count=STEP)], vg, lv, starts)
        found |= {(index, r.start) for r in placed if r.count}
    return found


@given(servers(), st.data())
def test_each_byte_of_an_lv_is_found_again(layout: Layout, data: st.DataObject) -> None:
    [vg] = layout.vgs
    for lv in vg.lvs:
        at = data.draw(st.integers(0, lv.extents * vg.extent_size // STEP - 1)) * STEP
        [(disk, start)] = places(layout, lv.uuid, at)
        [spot] = spots(layout, disk, start, STEP)
        assert spot == Spot(disk=disk, start=start, count=STEP, name=f"LV {lv.name}", key=lv.uuid, at=at)


@given(servers())
def test_a_packed_disk_s_lv_is_found_in_the_source_s(layout: Layout) -> None:
    plan = make_plan(layout, MARGIN)
    [target], [vg] = plan.target.vgs, plan.source.vgs
    starts = {pv.uuid: plan.target.first_extent(pv) for pv in target.pvs}
    for lv in target.lvs:
        for part in blockmap.place([Range(start=0, count=lv.extents * vg.extent_size)], target, lv.uuid, starts):
            if not part.count:
                continue
            found = list(in_source(plan, 0, part.start, part.count))
            assert sum(spot.count for spot in found) == part.count
            assert {spot.key for spot in found} == {lv.uuid}
            first = found[0]
            assert (first.disk, first.start) in places(layout, lv.uuid, first.at)


def test_a_disk_is_covered_and_what_is_no_volume_has_no_key(blog: Path) -> None:
    layout = blog_layout(blog)
    found = list(spots(layout, 0, 0, layout.disks[0].size))
    assert [spot.start for spot in found[1:]] == [spot.start + spot.count for spot in found[:-1]]
    assert found[-1].start + found[-1].count == layout.disks[0].size
    assert [(spot.name, spot.key, spot.at) for spot in found[:3]] == [
        ("no partition", None, 0),
        ("partition 1", (0, 1), 0),
        ("LVM's own of VG vg1", None, 0),
    ]
    free = sum(spot.count for spot in found if spot.name == f"{FREE_EXTENTS} vg1")
    [vg] = layout.vgs
    assert free == (vg.pvs[0].extents - sum(lv.extents for lv in vg.lvs)) * vg.extent_size
    assert {spot.name for spot in found if isinstance(spot.key, str)} == {f"LV {lv.name}" for lv in vg.lvs}


def test_zeros_of_a_packed_disk_are_nowhere(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    size = plan.target.disks[0].size
    assert sum(spot.count for spot in in_source(plan, 0, 0, size)) <= size
    [spot] = in_source(plan, 0, MIB, 512)
    assert (spot.name, spot.at, spot.start) == ("partition 1", 0, MIB)
