"""From what LVM reports to the layout's own values."""

from collections.abc import Mapping
from dataclasses import replace

from lvpack_agent.errors import Failed, understood
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.extents import Area, Segment, joined_segments
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.lvm import vgreport

# A partition: the disk's index in the layout, and the partition's number there; 0 is the whole disk.
Place = tuple[int, int]


def volume_group(vg: vgreport.Vg, pvs: Mapping[str, Place], contents: Mapping[str, Content]) -> VolumeGroup:
    """Return a reported VG of linear and striped LVs as the layout has it.

    pvs has the places of PVs by device, contents those of LVs by name; an LV that is not in it is of unknown content.
    """
    uuids = {pv.device: pv.uuid for pv in vg.pvs}
    return VolumeGroup(
        name=vg.name,
        uuid=vg.uuid,
        extent_size=vg.extent_size,
        pvs=tuple(
            physical_volume(pv, pvs[pv.device], vg.extent_size) for pv in sorted(vg.pvs, key=lambda pv: pvs[pv.device])
        ),
        lvs=tuple(
            LogicalVolume(
                name=lv.name,
                uuid=lv.uuid,
                # LVM may keep a segment in two pieces that lie one after another.
                segments=joined_segments(segment(s, uuids) for s in lv.segments),
                content=contents.get(lv.name, Content()),
            )
            for lv in sorted(vg.lvs, key=lambda lv: lv.name)
        ),
    )


def physical_volume(reported: vgreport.Pv, place: Place, extent_size: int) -> PhysicalVolume:
    """Return a PV as the layout has it."""
    disk, partition = place
    pv = PhysicalVolume(
        uuid=reported.uuid,
        disk=disk,
        partition=partition,
        size=reported.size,
        pe_start=reported.pe_start,
        extents=reported.extents,
        metadata_areas=reported.metadata_areas,
        area_size=reported.area_size,
        second_area=reported.second_area,
    )
    return pv if partition else replace(pv, size=pv.least_size(extent_size))


@understood("the report of LVM")
def segment(reported: vgreport.Segment, uuids: dict[str, str]) -> Segment:
    """Return a segment as the layout has it; uuids are those of PVs, by device. Raises Failed if it does not add up."""
    areas = []
    for text in reported.ranges:
        device, _, extents = text.rpartition(":")
        first, last = (int(n) for n in extents.split("-"))
        if (last - first + 1) * len(reported.ranges) != reported.count:
            raise Failed(f"cannot read the layout: LVM reports {reported.count} extents at {' '.join(reported.ranges)}")
        areas.append(Area(pv=uuids[device], pe=first))
    return Segment(
        le=reported.start,
        pv=areas[0].pv,
        pe=areas[0].pe,
        count=reported.count,
        others=tuple(areas[1:]),
        stripe_size=reported.stripe_size if len(areas) > 1 else 0,
    )
