from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent import lvm, mappings, overlay, partitions, probe
from lvpack_agent.compact import compact, moved, truncated
from lvpack_agent.errors import Refused
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout import (
    Content,
    Disk,
    Layout,
    LogicalVolume,
    PhysicalVolume,
    Range,
    Segment,
    VolumeGroup,
    differences,
    with_partition,
)
from lvpack_agent.options import Margin
from lvpack_agent.plan import Plan, as_text, make_plan
from lvpack_agent.sizes import GIB, MIB

MARGIN = Margin(percent=5)


def blog_vg(blog: Path, contents: dict[str, Content] | None = None) -> VolumeGroup:
    [vg] = lvm.parse((blog / "fullreport.json").read_text())
    uuids = {pv.device: pv.uuid for pv in vg.pvs}
    [pv] = vg.pvs
    return VolumeGroup(
        name=vg.name,
        uuid=vg.uuid,
        extent_size=vg.extent_size,
        pvs=(
            PhysicalVolume(uuid=pv.uuid, disk=0, partition=2, size=pv.size, pe_start=pv.pe_start, extents=pv.extents),
        ),
        lvs=tuple(
            LogicalVolume(
                name=lv.name,
                uuid=lv.uuid,
                segments=tuple(probe.segment(s, uuids) for s in lv.segments),
                content=(contents or {}).get(lv.name, Content()),
            )
            for lv in sorted(vg.lvs, key=lambda lv: lv.name)
        ),
    )


def ext(size: int, minimum: int, free: tuple[Range, ...] = ()) -> Content:
    return Content(type="ext4", uuid="u", size=size, block_size=4096, minimum=minimum, free=free)


def blog_layout(blog: Path) -> Layout:
    table, sector = partitions.parse((blog / "sfdisk.json").read_text())
    disk = Disk(path="/dev/vda", size=12 * GIB, sector_size=sector, table=table)
    disk = with_partition(disk, replace(table.partition(1), content=ext(256 * MIB, 100 * MIB)))
    disk = with_partition(disk, replace(table.partition(2), content=Content(type="LVM2_member", uuid="pv")))
    contents = {
        "root": ext(2560 * MIB, 523 * MIB),
        "var": ext(1536 * MIB, 212 * MIB),
        "tmp": ext(512 * MIB, 33 * MIB),
        "swap": Content(type="swap", uuid="s", label="swap", size=512 * MIB, block_size=4096),
    }
    return Layout(disks=(disk,), vgs=(blog_vg(blog, contents),))


def test_the_sample_server_is_planned_as_it_should(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    [vg] = plan.target.vgs
    assert {lv.name: lv.extents for lv in vg.lvs} == {"root": 18, "swap": 1, "tmp": 2, "var": 7}
    assert vg.pvs[0].extents == 28
    assert plan.packed_size == 257 * MIB + MIB + 28 * 32 * MIB
    swap = next(lv for lv in vg.lvs if lv.name == "swap")
    assert swap.content == Content(type="swap", uuid="s", label="swap", size=32 * MIB, block_size=4096)
    assert plan.target.pv_partition(vg.pvs[0]).size == MIB + 28 * 32 * MIB
    assert "1.13 GiB" in as_text(plan)


def test_a_plan_survives_json(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    assert from_json(Plan, to_json(plan)) == plan


def test_the_packed_table_covers_the_packed_disk(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    rows = [line.split() for line in overlay.packed_table(plan, "/dev/mapper/x").splitlines()]
    at = 0
    for start, count, *_ in rows:
        assert int(start) == at
        at += int(count)
    assert at * mappings.SECTOR == plan.packed_size


def test_a_store_estimate_counts_used_blocks_beyond_the_new_end(blog: Path) -> None:
    content = ext(100 * 4096, 10 * 4096, (Range(start=20, count=30), Range(start=60, count=40)))
    assert content.used_beyond(0) == 30 * 4096
    assert content.used_beyond(50 * 4096) == 10 * 4096
    assert content.used_beyond(100 * 4096) == 0


def test_what_is_not_supported_is_refused(blog: Path) -> None:
    layout = blog_layout(blog)
    [disk] = layout.disks
    assert disk.table is not None
    after = replace(disk.table.partition(1), number=3, start=13 * GIB)
    several = replace(disk, table=replace(disk.table, partitions=(*disk.table.partitions, after)))
    for broken, words in (
        (replace(disk, table=None), "no partition table"),
        (several, "partition 3 stands after the PV"),
        (replace(disk, table=replace(disk.table, label="sun")), "'sun'"),
    ):
        with pytest.raises(Refused, match=words):
            make_plan(replace(layout, disks=(broken,)), MARGIN)
    with pytest.raises(Refused):
        make_plan(replace(layout, vgs=layout.vgs * 2), MARGIN)


@st.composite
def vgs(draw: st.DrawFn) -> VolumeGroup:
    """A VG whose LVs are scattered over one PV in any order, with holes."""
    pieces = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=20))
    segments: dict[int, list[Segment]] = {}
    pe = 0
    for count, hole, owner in pieces:
        pe += hole
        le = sum(s.count for s in segments.get(owner, []))
        segments.setdefault(owner, []).append(Segment(le=le, pv="pv", pe=pe, count=count))
        pe += count
    lvs = tuple(LogicalVolume(name=f"lv{owner}", uuid=f"u{owner}", segments=tuple(s)) for owner, s in segments.items())
    pv = PhysicalVolume(uuid="pv", disk=0, partition=1, size=(pe + 9) * MIB, pe_start=MIB, extents=pe + 5)
    return VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=(pv,), lvs=lvs)


def extent_owners(vg: VolumeGroup) -> dict[int, tuple[str, int]]:
    return {s.pe + i: (lv.name, s.le + i) for lv in vg.lvs for s in lv.segments for i in range(s.count)}


@given(vgs(), st.data())
def test_compaction_keeps_every_extent_and_leaves_no_hole(vg: VolumeGroup, data: st.DataObject) -> None:
    cut = tuple(truncated(lv, data.draw(st.integers(1, lv.extents))) for lv in vg.lvs)
    shrunk = replace(vg, lvs=cut)
    moves = compact(shrunk)
    packed = moved(shrunk, moves)
    before, after = extent_owners(shrunk), extent_owners(packed)
    assert sorted(after) == list(range(len(before)))
    assert sorted(after.values()) == sorted(before.values())
    for move in moves:
        for i in range(move.count):
            assert before[move.source + i] == after[move.target + i]
    assert packed.pvs[0].extents == len(before)
    # No compaction can move less than what is beyond its end, and no move overlaps its own place.
    moving = [m for m in moves if not m.stays]
    assert sum(m.count for m in moving) == sum(extent >= len(before) for extent in before)
    assert all(m.source >= len(before) >= m.target + m.count for m in moving)
    assert all(len({before[m.source + i][0] for i in range(m.count)}) == 1 for m in moves)


def test_differences_name_the_place(blog: Path) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    other = replace(layout, vgs=(replace(vg, extent_size=1),))
    assert differences(layout, layout) == []
    assert differences(layout, other) == ["vgs[0].extent_size: 33554432, found 1"]


def logical(blog: Path) -> Layout:
    """The sample server with its PV as partition 5, in an extended one that begins a MiB before."""
    layout = blog_layout(blog)
    [disk], [vg] = layout.disks, layout.vgs
    assert disk.table is not None
    boot, pv = disk.table.partitions
    extended = replace(pv, number=2, start=pv.start - MIB, size=pv.size + MIB, type="5", content=Content())
    table = replace(disk.table, partitions=(boot, extended, replace(pv, number=5)))
    vg = replace(vg, pvs=(replace(vg.pvs[0], partition=5),))
    return Layout(disks=(replace(disk, table=table),), vgs=(vg,))


def test_extended_partition_ends_with_its_logical_pv(blog: Path) -> None:
    target = make_plan(logical(blog), MARGIN).target.disks[0].table
    assert target and target.extended
    assert target.extended.end == target.partition(5).end
    assert target.extended.start == 256 * MIB


def test_extended_partition_with_more_in_it_is_refused(blog: Path) -> None:
    layout = logical(blog)
    [disk] = layout.disks
    assert disk.table is not None
    boot, extended, pv = disk.table.partitions
    other = replace(boot, number=6, start=extended.start + 100 * MIB, size=MIB)
    table = replace(disk.table, partitions=(boot, extended, pv, other))
    with pytest.raises(Refused, match="partition 2 is an extended one"):
        make_plan(replace(layout, disks=(replace(disk, table=table),)), MARGIN)
