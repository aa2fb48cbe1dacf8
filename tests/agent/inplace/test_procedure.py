"""In-place mode's steps: from the source to the plan's target and back, through states that a later boot can tell."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.inplace import procedure
from lvpack_agent.inplace.states import same_extents, states
from lvpack_agent.inplace.steps import (
    AddArea,
    MarkVg,
    MoveExtents,
    ReduceLv,
    RemoveArea,
    ResizeFilesystem,
    ResizePv,
    Step,
    WriteTable,
)
from lvpack_agent.layout.content import PV_TYPE, Content
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import MetadataArea, VolumeGroup
from lvpack_agent.lvm import pvmove
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.values import Plan
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout, ext, vgs


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan for a disk whose only partition is a PV; each LV holds a filesystem, swap or something unknown.

    A second metadata area may be larger than lvpack makes one, and stand away from the last extent.
    """
    vg = draw(vgs(most=1))
    lvs = []
    for lv in vg.lvs:
        size = lv.extents * vg.extent_size
        contents = (
            ext(size, draw(st.integers(1, size))),
            Content(type="swap", uuid="s", size=size, block_size=4096),
            Content(),
        )
        lvs.append(replace(lv, content=draw(st.sampled_from(contents))))
    [pv] = vg.pvs
    if pv.metadata_areas == 2:
        start = pv.least_size(vg.extent_size) - pv.tail + draw(st.sampled_from([0, 4 * KIB]))
        area = MetadataArea(start=start, size=pv.tail + draw(st.sampled_from([0, 4 * KIB])))
        pv = replace(pv, second_area=area, size=area.start + area.size)
        vg = replace(vg, pvs=(pv,))
    row = Partition(number=1, start=MIB, size=pv.size, type="8e", content=Content(type=PV_TYPE, uuid="pv"))
    table = PartitionTable(label="dos", id="0x1", partitions=(row,))
    disk = Disk(path="/dev/vda", size=row.end + 5 * MIB, sector_size=512, table=table)
    return make_plan(Layout(disks=(disk,), vgs=(replace(vg, lvs=tuple(lvs)),)), MARGIN)


def fold(vg: VolumeGroup, todo: tuple[Step, ...]) -> VolumeGroup:
    return states(vg, todo)[-1]


@given(plans())
def test_steps_lead_to_the_target_and_back(plan: Plan) -> None:
    [source], [target] = plan.source.vgs, plan.target.vgs
    shrunk = fold(source, procedure.shrinking(plan))
    assert same_extents(shrunk, target)
    assert same_extents(fold(shrunk, procedure.regrowing(plan)), source)


@given(plans())
def test_extents_are_always_where_one_lv_alone_has_them(plan: Plan) -> None:
    todo = procedure.shrinking(plan) + procedure.regrowing(plan)
    for state in states(plan.source.vgs[0], todo):
        taken = [a.pe + i for lv in state.lvs for s in lv.segments for a in s.areas for i in range(s.length)]
        assert len(set(taken)) == len(taken)
        assert all(extent < state.pvs[0].extents for extent in taken)


@given(plans())
def test_a_pvmove_is_of_one_segment_alone(plan: Plan) -> None:
    """Of the segments as LVM cuts them, which need not be joined again after a move."""
    todo = procedure.shrinking(plan) + procedure.regrowing(plan)
    for state, step in zip(states(plan.source.vgs[0], todo), todo, strict=False):
        if isinstance(step, MoveExtents):
            first, end = step.move.source, step.move.source + step.move.count
            areas = [(a.pe, a.pe + s.length) for lv in state.lvs for s in lv.segments for a in s.areas]
            assert any(pe <= first and end <= to for pe, to in areas)
            cuts = {cut for other in todo if isinstance(other, MoveExtents) for cut in _cut_by(state, other.move)}
            assert not any(first < cut < end for cut in cuts)


@given(plans())
def test_a_pv_is_only_resized_with_one_metadata_area_and_then_has_the_wanted_second(plan: Plan) -> None:
    """pvresize moves a second one, and a power cut just then takes all metadata."""
    for todo, wanted in ((procedure.shrinking(plan), plan.target), (procedure.regrowing(plan), plan.source)):
        [packed], [source] = plan.target.vgs, plan.source.vgs
        [area] = [pv.second_area for pv in (source if wanted is plan.target else packed).pvs]
        for step in todo:
            if isinstance(step, RemoveArea):
                assert area
                area = None
            elif isinstance(step, AddArea):
                assert not area
                area = step.area
            assert not (area and isinstance(step, ResizePv))
            if isinstance(step, WriteTable):
                end = wanted.vgs[0].pvs[0]
                assert not area or todo[0] is step or area.start + area.size <= end.size
        assert area == wanted.vgs[0].pvs[0].second_area


@given(plans())
def test_a_second_metadata_area_is_added_where_no_extent_is(plan: Plan) -> None:
    todo = procedure.shrinking(plan) + procedure.regrowing(plan)
    for state, step in zip(states(plan.source.vgs[0], todo), todo, strict=False):
        if isinstance(step, AddArea):
            [pv] = state.pvs
            assert step.area.start >= pv.pe_start + pv.extents * state.extent_size
            # LVM writes an area with what is before it in the same 128 KiB.
            assert step.area.start % (128 * KIB) == 0 or step.area == plan.source.vgs[0].pvs[0].second_area


def _cut_by(vg: VolumeGroup, move: Move) -> set[int]:
    """Return the extents before which a move cuts the segments that it is of, in all of their areas."""
    cuts = set()
    for s in (s for lv in vg.lvs for s in lv.segments):
        for area in s.areas:
            for end in (move.source, move.source + move.count):
                if area.pe < end < area.pe + s.length:
                    cuts |= {a.pe + end - area.pe for a in s.areas}
    return cuts


def test_the_sample_server_in_order(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    todo = procedure.shrinking(plan)
    assert [type(s).__name__ for s in todo if not isinstance(s, MoveExtents)] == [
        "MarkVg",
        "ResizeFilesystem",
        "ReduceLv",
        "MakeSwap",
        "ReduceLv",
        "ResizeFilesystem",
        "ReduceLv",
        "ResizeFilesystem",
        "ReduceLv",
        "MarkVg",
        "ResizePv",
        "WriteTable",
    ]
    assert sum(s.move.count for s in todo if isinstance(s, MoveExtents)) * 32 * MIB == plan.moving == 320 * MIB


def test_a_packed_disk_needs_no_step(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    assert procedure.shrinking(replace(plan, source=plan.target, moves=())) == ()


def test_a_journal_to_replay_on_what_is_kept_is_a_step(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    [_, first, *_] = procedure.shrinking(plan, ("partition 1",))
    assert isinstance(first, ResizeFilesystem)
    assert (first.partition, first.lv, first.old) == (1, "", first.new)


def test_a_gpt_written_for_another_end_is_written_again(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    [disk] = plan.target.disks
    assert disk.table
    for last, wanted in ((disk.size // 512 - 34, 0), (disk.size // 512 + 100, 1)):
        table = replace(disk.table, label="gpt", last_sector=last)
        layout = replace(plan.target, disks=(replace(disk, table=table),))
        todo = procedure.shrinking(replace(plan, source=layout, target=layout, moves=()))
        assert [isinstance(s, WriteTable) for s in todo] == [True] * wanted


def test_states_that_differ_are_told_apart(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    todo = procedure.shrinking(plan)
    found = states(plan.source.vgs[0], todo)
    changing = [i for i, s in enumerate(todo) if isinstance(s, ReduceLv | MoveExtents)]
    assert all(not same_extents(found[i], found[i + 1]) for i in changing)


def test_a_filesystem_is_only_ever_half_merged_in_a_marked_vg(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    for todo in (procedure.shrinking(plan), procedure.regrowing(plan)):
        marked = False
        for step in todo:
            marked = step.on if isinstance(step, MarkVg) else marked
            assert marked or not isinstance(step, ResizeFilesystem)
        assert not marked


def test_mirror_status() -> None:
    # dmsetup status vg-pvmove0, while it copied and when it had
    assert pvmove.in_sync("0 204800 mirror 2 254:0 254:0 2/50 1 AA 1 core") == 0.04
    assert pvmove.in_sync("0 204800 mirror 2 254:0 254:0 50/50 1 AA 1 core") == 1
