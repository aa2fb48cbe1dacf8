from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.layout import differences
from lvpack_agent.sizes import GIB, MIB
from tests.agent.builders.layouts import blog_layout


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


@pytest.mark.parametrize(("disk", "partition"), [(1, 5), (-1, 5), (0, 9), (0, 0)])
def test_a_pv_is_on_a_disk_and_a_partition_that_are_there(blog: Path, disk: int, partition: int) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    [pv] = vg.pvs
    elsewhere = replace(layout, vgs=(replace(vg, pvs=(replace(pv, disk=disk, partition=partition),)),))
    assert layout.contradiction() == ""
    assert elsewhere.contradiction() == f"PV {pv.uuid} is on a disk or a partition that is not there"
