"""The block map: the byte ranges of the packed disk that hold data. All else is zeros in the image.

Everything counts as data unless a filesystem is known to leave it free: partition tables, boot loaders, LVM's own
areas, and volumes whose free blocks nothing can tell.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range, complement, joined
from lvpack_agent.layout.volumes import VolumeGroup


def free_in(content: Content) -> tuple[Range, ...]:
    """Return the ranges in bytes that an ext filesystem leaves free by its block bitmap, which e2fsck has checked."""
    block = content.block_size
    return joined(Range(start=r.start * block, count=r.count * block) for r in content.free)


def place(free: Iterable[Range], vg: VolumeGroup, lv_uuid: str, starts: Mapping[str, int]) -> list[Range]:
    """Return ranges of an LV as ranges of a disk; starts has, by the UUID of a PV, the byte where its extent 0 is."""
    lv = next(lv for lv in vg.lvs if lv.uuid == lv_uuid)
    found = []
    for segment in lv.segments:
        begin, end = segment.le * vg.extent_size, (segment.le + segment.count) * vg.extent_size
        inside = [(max(part.start, begin) - begin, min(part.end, end) - begin) for part in free]
        for number, area in enumerate(segment.areas):
            if area.pv not in starts:
                continue
            start = starts[area.pv] + area.pe * vg.extent_size
            for first, last in inside:
                if first < last:
                    at, to = (_in_area(segment, number, offset) for offset in (first, last))
                    found.append(Range(start=start + at, count=to - at))
    return found


def _in_area(segment: Segment, number: int, offset: int) -> int:
    """Return how many of a segment's first offset bytes are in one of its areas (kernel: dm-stripe.c, stripe_map())."""
    if not segment.others:
        return offset
    size = segment.stripe_size
    rounds, rest = divmod(offset, size * len(segment.areas))
    return rounds * size + min(max(rest - number * size, 0), size)


def of_disk(
    layout: Layout,
    shrunk: Collection[str],
    others: Mapping[tuple[int, int] | str, tuple[Range, ...]] = MappingProxyType({}),
    index: int = 0,
) -> tuple[Range, ...]:
    """Return the block map of a packed disk, given by its index in the probed layout.

    shrunk are the UUIDs of LVs that were cut: past the end of its filesystem such an LV holds only leftovers, which are
    left out. Of other LVs nobody knows what is there. others are the free bytes of volumes other than ext2/3/4, by
    partition or by the UUID of an LV (filesystems.free).
    """
    disk = layout.disks[index]
    free: list[Range] = []
    for number, whole, content in disk.places():
        for hole in (*free_in(content), *others.get((index, number), ())):
            # A filesystem that claims more than its partition must not free what comes after that.
            count = min(hole.end, whole.count) - hole.start
            free.append(Range(start=whole.start + hole.start, count=max(0, count)))
    for vg in layout.vgs:
        starts = {pv.uuid: layout.first_extent(pv) for pv in vg.pvs if pv.disk == index}
        for lv in vg.lvs:
            size = lv.extents * vg.extent_size
            holes = [*free_in(lv.content), *others.get(lv.uuid, ())]
            if lv.content.type == "swap" and lv.content.block_size:
                # It was made anew: only its first page, the header, means anything.
                holes = [Range(start=lv.content.block_size, count=size - lv.content.block_size)]
            elif lv.uuid in shrunk:
                holes.append(Range(start=lv.content.size, count=size - lv.content.size))
            free += place(holes, vg, lv.uuid, starts)
    return complement(free, disk.size)
