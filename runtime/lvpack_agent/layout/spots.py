"""What is at a byte of a disk: which LV or partition, and which byte of that. Arithmetic alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup

# What is in a place where nothing is kept, as a file's name is elsewhere.
FREE = "(free space)"
FREE_EXTENTS = "free in VG"
# Gaps before a partition are none: a boot loader, or the boot record of a logical partition, may be there.
BEHIND = "behind the last partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """count bytes of a disk (its index in a layout) from start on, all of one volume and one after another in it.

    name is the volume's for people, "" if nothing is known to be there. key is that of a volume that may hold a
    filesystem: the UUID of an LV, or disk and number of a partition; None for what LVM or the partition table keep. at
    is the byte of that volume, or of the PV, or of the disk.
    """

    disk: int
    start: int
    count: int
    name: str
    key: tuple[int, int] | str | None
    at: int

    @property
    def is_free(self) -> bool:
        """Whether nothing is kept there, whatever it is."""
        return self.name == BEHIND or self.name.startswith(FREE_EXTENTS)


def spots(layout: Layout, disk: int, start: int, count: int) -> Iterator[Spot]:
    """Yield what count bytes of a disk are, from byte start on, in their order."""
    end = start + count
    while start < end:
        spot = _spot(layout, disk, start, end - start)
        yield spot
        start += spot.count


def _spot(layout: Layout, disk: int, start: int, most: int) -> Spot:
    found = layout.disks[disk]
    if found.table is None:
        number, place = 0, Range(start=0, count=found.size)
    else:
        rows = found.in_order()
        inside = next((row for row in rows if row.start <= start < row.end), None)
        if inside is None:
            following = min((row.start for row in rows if row.start > start), default=start + most)
            left = min(most, following - start)
            is_behind = bool(rows) and start >= rows[-1].end
            name = BEHIND if is_behind else "no partition"
            return Spot(disk=disk, start=start, count=left, name=name, key=None, at=start)
        number, place = inside.number, Range(start=inside.start, count=inside.size)
    left = min(most, place.end - start) if place.end > start else most
    for vg in layout.vgs:
        for pv in vg.pvs:
            if (pv.disk, pv.partition) == (disk, number):
                return _in_pv(layout, vg, pv, start, left)
    name = layout.partition_name(disk, number)
    return Spot(disk=disk, start=start, count=left, name=name, key=(disk, number), at=start - place.start)


def _in_pv(layout: Layout, vg: VolumeGroup, pv: PhysicalVolume, start: int, left: int) -> Spot:
    first, size = layout.first_extent(pv), vg.extent_size
    behind = first + pv.extents * size
    at = start - layout.pv_start(pv)
    if not first <= start < behind:
        left = min(left, first - start) if start < first else left
        return Spot(disk=pv.disk, start=start, count=left, name=f"LVM's own of VG {vg.name}", key=None, at=at)
    for lv in vg.lvs:
        for segment in lv.segments:
            for number, area in enumerate(segment.areas):
                offset = start - first - area.pe * size
                if area.pv == pv.uuid and 0 <= offset < segment.length * size:
                    byte, count = _in_segment(segment, number, offset, size)
                    return Spot(
                        disk=pv.disk,
                        start=start,
                        count=min(left, count),
                        name=f"LV {lv.name}",
                        key=lv.uuid,
                        at=segment.le * size + byte,
                    )
    rest = size - (start - first) % size
    return Spot(disk=pv.disk, start=start, count=min(left, rest), name=f"{FREE_EXTENTS} {vg.name}", key=None, at=at)


def _in_segment(segment: Segment, number: int, offset: int, extent: int) -> tuple[int, int]:
    """Return which byte of a segment a byte of one of its areas is, and how many follow it there in the same area.

    The bytes go to the areas in turn (kernel: dm-stripe.c, stripe_map()).
    """
    if not segment.others:
        return offset, segment.length * extent - offset
    size = segment.stripe_size
    round_, rest = divmod(offset, size)
    return (round_ * len(segment.areas) + number) * size + rest, size - rest
