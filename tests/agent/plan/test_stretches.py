"""Every byte of the packed disks is where the source has it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.plan.text import as_text
from lvpack_agent.plan.values import Plan, Stretch
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout, extent_owners, further, servers

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
