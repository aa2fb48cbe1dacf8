"""Partitions of the packed disk, extended ones among them."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.sizes import GIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout, with_partition


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


def test_a_name_that_sfdisk_does_not_write_is_refused_before_anything_is_done(blog: Path) -> None:
    layout = blog_layout(blog)
    disk = with_partition(layout.disks[0], replace(layout.disks[0].rows[0], name="the 😀 one"))
    with pytest.raises(Refused, match=r"cannot pack disk '/dev/vda': the name of partition 1 "):
        make_plan(replace(layout, disks=(disk,)), MARGIN)


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


def test_a_disk_that_is_a_pv_gets_larger_when_it_takes_what_another_one_has() -> None:
    """A server whose two disks are PVs as a whole, with more on both than the first one has room for."""
    pvs = tuple(
        PhysicalVolume(uuid=uuid, disk=index, partition=0, size=101 * MIB, pe_start=MIB, extents=25)
        for index, uuid in enumerate("ab")
    )
    lvs = tuple(
        LogicalVolume(name=uuid, uuid=uuid, segments=(Segment(le=0, pv=uuid, pe=0, count=20),)) for uuid in "ab"
    )
    vg = VolumeGroup(name="vg", uuid="vg", extent_size=4 * MIB, pvs=pvs, lvs=lvs)
    disks = tuple(Disk(path=f"/dev/vd{index}", size=102 * MIB, sector_size=512, table=None) for index in range(2))
    plan = make_plan(Layout(disks=disks, vgs=(vg,)), MARGIN)
    assert plan.target.disks[0].size == 161 * MIB
    assert sum(stretch.size for stretch in stretches(plan)) == 161 * MIB
