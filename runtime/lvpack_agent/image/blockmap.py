"""The block map: the byte ranges of the packed disk that hold data. All else is zeros in the image.

What no filesystem is known to leave free counts as data: partition tables, boot loaders, LVM's own areas, and what is
on a volume that nothing can map.
"""

import bisect
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from lvpack_agent.layout.layout import Content, Layout, Range, Segment, VolumeGroup


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return ranges in ascending order, those that touch or overlap made one, empty ones left out."""
    result: list[Range] = []
    for part in sorted((r for r in ranges if r.count > 0), key=lambda r: r.start):
        if result and part.start <= result[-1].end:
            result[-1] = Range(start=result[-1].start, count=max(result[-1].end, part.end) - result[-1].start)
        else:
            result.append(part)
    return tuple(result)


def complement(ranges: Iterable[Range], size: int) -> tuple[Range, ...]:
    """Return what of 0 to size is in none of the ranges."""
    result, at = [], 0
    for part in joined(ranges):
        result.append(Range(start=at, count=min(part.start, size) - at))
        at = part.end
    result.append(Range(start=at, count=size - at))
    return tuple(r for r in result if r.count > 0)


class Lookup:
    """Ranges in which those of a piece of the disk are found quickly."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._ranges = joined(ranges)
        self._ends = [r.end for r in self._ranges]

    def within(self, at: int, count: int) -> list[Range]:
        """Return what of count bytes from at on is in the ranges, in ascending order."""
        found = []
        for index in range(bisect.bisect_right(self._ends, at), len(self._ranges)):
            part = self._ranges[index]
            start, end = max(at, part.start), min(at + count, part.end)
            if start >= end:
                break
            found.append(Range(start=start, count=end - start))
        return found

    def outside(self, at: int, count: int) -> list[Range]:
        """Return what of count bytes from at on is in none of the ranges, in ascending order."""
        found, end = [], at
        for part in (*self.within(at, count), Range(start=at + count, count=0)):
            if part.start > end:
                found.append(Range(start=end, count=part.start - end))
            end = part.end
        return found


def free_in(content: Content) -> tuple[Range, ...]:
    """Return the ranges in bytes that an ext filesystem leaves free by its block bitmap, which e2fsck has checked."""
    block = content.block_size
    return joined(Range(start=r.start * block, count=r.count * block) for r in content.free)


def place(free: Iterable[Range], vg: VolumeGroup, lv_uuid: str, starts: Mapping[str, int]) -> list[Range]:
    """Return ranges of an LV as ranges of a disk; starts are the bytes where extent 0 of its PVs, by UUID, is."""
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
    """Return the block map of a packed disk, by its index, as it was probed; shrunk are the UUIDs of LVs that were cut.

    others are the free bytes of volumes other than ext2/3/4, by partition or UUID of the LV (usage.free). Past
    the end of a filesystem a cut LV holds only what was left over; elsewhere nobody knows what is there.
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
