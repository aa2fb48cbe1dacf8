from dataclasses import replace
from pathlib import Path

from lvpack_agent.layout.volumes import MetadataArea, PhysicalVolume, by_place
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import blog_layout


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


def test_vgs_are_in_the_order_of_their_places(blog: Path) -> None:
    """So a packed layout has the order of its source: PVs keep their partitions, and kept disks come first."""
    [vg] = blog_layout(blog).vgs
    [pv] = vg.pvs
    second = replace(vg, name="second", pvs=(replace(pv, disk=2), replace(pv, partition=3)))
    third = replace(vg, name="third", pvs=(replace(pv, disk=1, partition=0),))
    assert by_place([third, second, vg]) == (vg, second, third)
