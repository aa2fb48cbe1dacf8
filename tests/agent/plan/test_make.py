from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import PhysicalVolume
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.text import as_text
from lvpack_agent.plan.values import Plan
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import MARGIN, blog_layout


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
