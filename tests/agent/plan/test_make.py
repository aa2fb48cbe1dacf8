from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.devices import dmsetup
from lvpack_agent.errors import Refused
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.extents import joined_segments
from lvpack_agent.layout.layout import Layout, differences
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import MetadataArea, PhysicalVolume, VolumeGroup, by_place
from lvpack_agent.overlay.packed import packed_table
from lvpack_agent.plan.compact import compact, moved, relocated, truncated, whole_stripes
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.plan.text import as_text
from lvpack_agent.plan.values import Plan, Stretch
from lvpack_agent.sizes import GIB, KIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout, ext, further, servers, vgs


def test_the_sample_server_is_planned_as_it_should(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    [vg] = plan.target.vgs
    assert {lv.name: lv.extents for lv in vg.lvs} == {"root": 18, "swap": 1, "tmp": 2, "var": 7}
    assert vg.pvs[0].extents == 28
    assert plan.packed_size == 257 * MIB + MIB + 28 * 32 * MIB
    swap = next(lv for lv in vg.lvs if lv.name == "swap")
    assert swap.content == Content(type="swap", uuid="s", label="swap", size=32 * MIB, block_size=4096)
    assert plan.target.disks[0].rows[1].size == MIB + 28 * 32 * MIB
    assert "1.13 GiB" in as_text(plan)


def test_a_plan_survives_json(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    assert from_json(Plan, to_json(plan)) == plan


def test_the_packed_table_covers_the_packed_disk(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    rows = [line.split() for line in packed_table(plan, ["/dev/mapper/x"]).splitlines()]
    at = 0
    for start, count, *_ in rows:
        assert int(start) == at
        at += int(count)
    assert at * dmsetup.SECTOR == plan.packed_size


def test_a_store_estimate_counts_used_blocks_beyond_the_new_end(blog: Path) -> None:
    content = ext(100 * 4096, 10 * 4096, (Range(start=20, count=30), Range(start=60, count=40)))
    assert content.used_beyond(0) == 30 * 4096
    assert content.used_beyond(50 * 4096) == 10 * 4096
    assert content.used_beyond(100 * 4096) == 0


def test_what_is_not_supported_is_refused(blog: Path) -> None:
    layout = blog_layout(blog)
    [disk], [vg] = layout.disks, layout.vgs
    assert disk.table is not None
    sun = replace(disk, table=replace(disk.table, label="sun"))
    with pytest.raises(Refused, match="'sun'"):
        make_plan(replace(layout, disks=(sun,)), MARGIN)
    second = replace(disk, path="/dev/vdb")
    with pytest.raises(Refused, match="disk '/dev/vdb' into '/dev/vda': it has partition 1 of disk /dev/vdb"):
        make_plan(replace(layout, disks=(disk, second)), MARGIN)
    with pytest.raises(Refused, match="sectors of 4096 and 512"):
        make_plan(replace(layout, disks=(disk, replace(second, sector_size=4096))), MARGIN)
    elsewhere = replace(vg, name="data", pvs=(replace(vg.pvs[0], disk=1, partition=0),))
    with pytest.raises(Refused, match="VG 'data' into disk '/dev/vda': it has no PV there"):
        make_plan(Layout(disks=(disk, replace(second, table=None)), vgs=(vg, elsewhere)), MARGIN)


Owner = tuple[str, int, int]


def extent_owners(vg: VolumeGroup) -> dict[tuple[str, int], Owner]:
    """Return for each used extent which of the extents, counted in the LV's stripes, it is: (LV, row, column)."""
    owners: dict[tuple[str, int], Owner] = {}
    for lv in vg.lvs:
        for s in lv.segments:
            for column, area in enumerate(s.areas):
                for i in range(s.length):
                    owners[area.pv, area.pe + i] = (lv.name, s.le + i * len(s.areas), column)
    return owners


@given(vgs(), st.data())
def test_compaction_keeps_every_extent_and_leaves_no_hole(vg: VolumeGroup, data: st.DataObject) -> None:
    cut = tuple(truncated(lv, whole_stripes(lv, data.draw(st.integers(1, lv.extents)))) for lv in vg.lvs)
    shrunk = replace(vg, lvs=cut)
    homes = {pv.uuid: "pv0" for pv in vg.pvs[1:] if data.draw(st.booleans())}
    moves = compact(shrunk, homes)
    packed = moved(shrunk, moves, homes)
    before, after = extent_owners(shrunk), extent_owners(packed)
    assert sorted(after.values()) == sorted(before.values())
    for pv in packed.pvs:
        used = sorted(pe for uuid, pe in after if uuid == pv.uuid)
        assert used == list(range(len(used)))
        assert pv.extents == max(1, len(used))
    for move in moves:
        for i in range(move.count):
            assert before[move.pv, move.source + i] == after[move.home, move.target + i]
    # No compaction can move less than what is beyond its end, and no move overlaps its own place.
    for pv in packed.pvs:
        used_count = sum(uuid == pv.uuid for uuid, _ in after)
        moving = [m for m in moves if m.home == pv.uuid and not m.stays]
        stay = sum(uuid == pv.uuid and pe < used_count for uuid, pe in before)
        assert sum(m.count for m in moving) == used_count - stay
        assert all(m.to or m.source >= used_count >= m.target + m.count for m in moving)
    assert all(len({before[m.pv, m.source + i][0] for i in range(m.count)}) == 1 for m in moves)


@given(vgs(), st.data())
def test_moves_one_by_one_lead_to_the_same(vg: VolumeGroup, data: st.DataObject) -> None:
    moves = compact(vg)
    stepwise = replace(vg, lvs=tuple(replace(lv, segments=joined_segments(lv.segments)) for lv in vg.lvs))
    for move in data.draw(st.permutations([m for m in moves if not m.stays])):
        stepwise = relocated(stepwise, move)
    assert stepwise.lvs == moved(vg, moves).lvs


Place = tuple[int | None, int]


def places(plan: Plan, index: int) -> dict[int, Place]:
    """Return where each block of 4 KiB of a packed disk is from, as (disk, byte)."""
    found: dict[int, Place] = {}
    at = 0
    for piece in stretches(plan, index):
        for offset in range(0, piece.size, 4 * KIB):
            found[at + offset] = (piece.disk, piece.offset + offset)
        at += piece.size
    assert at == plan.target.disks[index].size
    return found


def assert_the_source_s(plan: Plan) -> None:
    """Every partition and every extent of the packed disks is what it was."""
    source, target = plan.source, plan.target
    place = [places(plan, index) for index in range(len(target.disks))]
    assert plan.packed_size == sum(disk.size for disk in target.disks)
    # Partitions: what they hold, their order, and that they do not overlap.
    for index, packed in enumerate(target.disks):
        starts = {pv.partition: pv.pe_start for pv in target.vgs[0].pvs if pv.disk == index}
        olds = source.disks[index].rows
        for old, new in zip(olds, packed.rows, strict=True):
            assert (new.start - old.start) % (4 * KIB) == 0
            for offset in range(0, starts.get(old.number, old.size), 4 * KIB):
                assert place[index][new.start + offset] == (index, old.start + offset)
        ordered = sorted(packed.rows, key=lambda row: row.start)
        assert [r.number for r in ordered] == [r.number for r in sorted(olds, key=lambda row: row.start)]
        assert all(a.end <= b.start for a, b in pairwise(ordered))
        assert len(target.disks) < len(source.disks) or packed.size <= source.disks[index].size
    # Extents: each LV's are those that it had.
    olds_at = {pv.uuid: (pv.disk, source.first_extent(pv)) for pv in source.vgs[0].pvs}
    news_at = {pv.uuid: (pv.disk, target.first_extent(pv)) for pv in target.vgs[0].pvs}
    before = {
        owner: (olds_at[uuid][0], olds_at[uuid][1] + pe * MIB)
        for (uuid, pe), owner in extent_owners(source.vgs[0]).items()
    }
    after = {
        owner: place[news_at[uuid][0]][news_at[uuid][1] + pe * MIB]
        for (uuid, pe), owner in extent_owners(target.vgs[0]).items()
    }
    assert after == before
    # Whatever is written to one place is written to no other, and a second metadata area can be written.
    taken = [where for disk in place for where in disk.values() if where[0] is not None]
    assert len(set(taken)) == len(taken)
    for pv in target.vgs[0].pvs:
        end = target.pv_start(pv) + pv.size
        assert all(place[pv.disk][at][0] == pv.disk for at in range(end - pv.tail, end, 4 * KIB))
    assert any(pv.metadata_areas for pv in target.vgs[0].pvs)


@given(servers())
def test_every_byte_of_the_packed_disk_is_the_source_s(source: Layout) -> None:
    plan = make_plan(source, MARGIN)
    assert len(plan.target.disks) == 1
    assert_the_source_s(plan)


@given(servers(collapsible=False))
def test_every_byte_of_each_disk_that_is_packed_by_itself_is_the_source_s(source: Layout) -> None:
    plan = make_plan(source, MARGIN, kept=len(source.disks))
    assert len(plan.target.disks) == len(source.disks)
    assert [(pv.uuid, pv.disk, pv.partition) for pv in plan.target.vgs[0].pvs] == [
        (pv.uuid, pv.disk, pv.partition) for pv in source.vgs[0].pvs
    ]
    for index in range(len(source.disks)):
        assert {piece.disk for piece in stretches(plan, index)} <= {index, None}, "nothing goes to another disk"
    assert_the_source_s(plan)


@given(servers(), st.lists(further(), min_size=1, max_size=2))
def test_disks_without_lvm_are_packed_beside_the_server_s(server: Layout, added: list[Disk]) -> None:
    first, *collapsed = server.disks
    vg = server.vgs[0]
    pvs = tuple(replace(pv, disk=pv.disk and pv.disk + len(added)) for pv in vg.pvs)
    source = Layout(disks=(first, *added, *collapsed), vgs=(replace(vg, pvs=pvs),))
    plan = make_plan(source, MARGIN, kept=1 + len(added))
    assert len(plan.target.disks) == 1 + len(added)
    assert_the_source_s(plan)
    for index, disk in enumerate(added, 1):
        if disk.rows:
            assert (
                max(piece.offset + piece.size for piece in stretches(plan, index) if piece.disk == index) <= disk.size
            )
        else:
            assert stretches(plan, index) == (Stretch(size=disk.size, disk=index),)
            assert ("keep", disk.size) in [(step.verb, step.after) for step in plan.rows]
    assert plan.target.vgs == tuple(
        replace(vg, pvs=tuple(replace(pv, disk=0) for pv in vg.pvs)) for vg in make_plan(server, MARGIN).target.vgs
    )


def test_a_second_metadata_area_stands_at_the_new_end(blog: Path) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    pv = replace(vg.pvs[0], metadata_areas=2, area_size=1020 * KIB + 512)
    plan = make_plan(replace(layout, vgs=(replace(vg, pvs=(pv,)),)), MARGIN)
    partition = plan.target.disks[0].rows[1]
    assert partition.size == plan.target.vgs[0].pvs[0].size == MIB + 28 * 32 * MIB + 1020 * KIB
    zeros, last = stretches(plan)[-1], stretches(plan)[-2]
    assert (zeros.disk, zeros.size) == (None, 4 * KIB)
    assert (last.disk, last.offset + last.size) == (0, layout.disks[0].rows[1].end)
    assert last.size == 1020 * KIB
    assert "no hole; 1.00 MiB after them for the second metadata area" in as_text(plan)


def test_a_second_metadata_area_has_its_128_kib_alone_where_there_is_room() -> None:
    pv = PhysicalVolume(
        uuid="pv", disk=0, partition=1, size=0, pe_start=192 * KIB, extents=5, metadata_areas=2, area_size=188 * KIB
    )
    area = MetadataArea(start=21 * MIB, size=188 * KIB)
    packed = pv.ending_early(4 * MIB)
    assert (packed.second_area, packed.size) == (area, area.start + area.size)
    near = MetadataArea(start=20 * MIB + 192 * KIB, size=256 * KIB)
    for second, start in ((near, near.start), (replace(near, start=20 * MIB), area.start)):
        packed = replace(pv, second_area=second).ending_early(4 * MIB)
        assert packed.second_area == MetadataArea(start=start, size=188 * KIB)


def test_what_remains_of_a_collapsed_vg_has_metadata(blog: Path) -> None:
    layout = blog_layout(blog)
    [disk], [vg] = layout.disks, layout.vgs
    bare = replace(vg.pvs[0], metadata_areas=0)
    other = replace(bare, uuid="other", disk=1, partition=0, metadata_areas=1)

    def planned(first: PhysicalVolume) -> Plan:
        disks = (disk, replace(disk, path="/dev/vdb", table=None))
        return make_plan(Layout(disks=disks, vgs=(replace(vg, pvs=(first, other)),)), MARGIN)

    [pv] = planned(bare).target.vgs[0].pvs
    assert (pv.uuid, pv.metadata_areas) == (bare.uuid, 1)
    assert "gets a metadata area, as the PVs that have one are collapsed" in as_text(planned(bare))
    with pytest.raises(Refused, match="no room for one before its first extent"):
        planned(replace(bare, pe_start=64 * KIB))


def test_vgs_are_in_the_order_of_their_places(blog: Path) -> None:
    """So a packed layout has the order of its source: PVs keep their partitions, and kept disks come first."""
    [vg] = blog_layout(blog).vgs
    [pv] = vg.pvs
    second = replace(vg, name="second", pvs=(replace(pv, disk=2), replace(pv, partition=3)))
    third = replace(vg, name="third", pvs=(replace(pv, disk=1, partition=0),))
    assert by_place([third, second, vg]) == (vg, second, third)


def test_differences_name_the_place(blog: Path) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    other = replace(layout, vgs=(replace(vg, extent_size=1),))
    assert differences(layout, layout) == []
    assert differences(layout, other) == ["vgs[0].extent_size: 33554432, found 1"]


def test_a_size_that_an_older_image_set_does_not_know_is_no_difference() -> None:
    old, new = Content(type="xfs", uuid="u"), Content(type="xfs", uuid="u", size=GIB, block_size=4096)
    assert differences(old, new) == []
    assert differences(old, replace(new, uuid="v")) == ["uuid: u, found v"]
    assert differences(replace(new, size=MIB), new) == [f"size: {MIB}, found {GIB}"]


def test_a_mapping_is_moved_to_other_devices() -> None:
    table = "0 8192 linear 254:2 2048\n8192 16384 striped 2 128 254:2 10240 254:3 2048\n"
    under = {"254:2": ("/dev/vda", 257 * MIB), "254:3": ("/dev/vdb", 0)}
    assert dmsetup.moved(table, under) == (
        "0 8192 linear /dev/vda 528384\n8192 16384 striped 2 128 /dev/vda 536576 /dev/vdb 2048\n"
    )


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


def test_extended_partition_holds_what_moves_with_it(blog: Path) -> None:
    layout = logical(blog)
    [disk] = layout.disks
    assert disk.table is not None
    boot, extended, pv = disk.table.partitions
    pv = replace(pv, size=8 * GIB)
    other = replace(boot, number=6, start=pv.end + MIB, size=5 * MIB, bootable=False)
    table = replace(disk.table, partitions=(boot, extended, pv, other))
    plan = make_plan(replace(layout, disks=(replace(disk, table=table),)), MARGIN)
    packed = plan.target.disks[0].table
    assert packed and packed.extended
    assert packed.extended.start == extended.start
    assert packed.partition(6).start == packed.partition(5).end + MIB
    assert packed.extended.end == packed.partition(6).end
    assert [(s.verb, s.object) for s in plan.rows if s.verb == "move"] == [("move", "partition 6")]
