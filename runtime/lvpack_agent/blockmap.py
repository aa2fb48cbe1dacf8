"""The block map: the byte ranges of the packed disk that hold data. All else is zeros in the image.

What no filesystem is known to leave free counts as data: partition tables, boot loaders, LVM's own areas, filesystems
that nothing can map.
"""

import re
from collections.abc import Callable, Collection, Iterable

from lvpack_agent.errors import Failed
from lvpack_agent.layout import Content, Range, VolumeGroup
from lvpack_agent.probe import Opened
from lvpack_agent.processes import ToolFailed, run

# blkid's TYPE → the partclone(8) that reads it.
TOOLS = {
    "ext2": "extfs",
    "ext3": "extfs",
    "ext4": "extfs",
    "xfs": "xfs",
    "btrfs": "btrfs",
    "vfat": "fat",
    "exfat": "exfat",
    "ntfs": "ntfs",
    "f2fs": "f2fs",
}
_ROW = re.compile(r"^0x([0-9A-Fa-f]+)\s+0x([0-9A-Fa-f]+)\s+(\S)$", re.MULTILINE)
USED = "+"


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


def parse(text: str) -> tuple[tuple[Range, ...], int]:
    """Read the map of `partclone.X --domain` (ddrescue's form): the used ranges, and where the filesystem ends.

    Raises Failed unless its rows follow one another without a gap.
    """
    used, at = [], 0
    for position, size, status in _ROW.findall(text):
        part = Range(start=int(position, 16), count=int(size, 16))
        if part.start != at:
            raise Failed(f"cannot read the block map: a row begins at byte {part.start:,}, not {at:,}")
        at = part.end
        if status == USED:
            used.append(part)
    if not used:
        raise Failed("cannot read the block map: it has no used block")
    return joined(used), at


def free_in(device: str, content: Content) -> tuple[Range, ...]:
    """Return the ranges in bytes that the filesystem on a device leaves free, none if nothing can map its type.

    Raises Failed if its tool cannot map it, or maps less than the filesystem's own bitmap has as used.
    """
    if content.type not in TOOLS:
        return ()
    command = [f"partclone.{TOOLS[content.type]}", "--domain", "--source", device, "--output", "-"]
    command += ["--UI-fresh", "0"]  # else it sleeps two seconds for its progress display
    used, end = parse(run(command).stdout)
    free = complement(used, end)
    if content.is_ext:
        own = joined(
            Range(start=r.start * content.block_size, count=r.count * content.block_size) for r in content.free
        )
        if uncovered := complement([*complement(free, end), *own], end):
            raise Failed(
                f"cannot trust the block map of '{device}': used data at byte {uncovered[0].start:,} is not in it"
            )
    return free


def place(free: Iterable[Range], vg: VolumeGroup, lv_uuid: str, start: int) -> list[Range]:
    """Return ranges of an LV as ranges of the disk whose byte start is extent 0 of the VG's only PV."""
    lv = next(lv for lv in vg.lvs if lv.uuid == lv_uuid)
    found = []
    for segment in lv.segments:
        begin, end = segment.le * vg.extent_size, (segment.le + segment.count) * vg.extent_size
        shift = start + (segment.pe - segment.le) * vg.extent_size
        for part in free:
            first, last = max(part.start, begin), min(part.end, end)
            if first < last:
                found.append(Range(start=first + shift, count=last - first))
    return found


def of_disk(found: Opened, shrunk: Collection[str], warn: Callable[[str], None]) -> tuple[Range, ...]:
    """Return the block map of a packed disk; shrunk are the UUIDs of LVs that were cut.

    Past the end of a filesystem a cut LV holds only what was left over; else nobody knows what is there. What cannot
    be mapped is warned of and counts as data.
    """
    [disk] = found.layout.disks
    free: list[Range] = []

    def of(name: str, device: str, content: Content) -> tuple[Range, ...]:
        try:
            return free_in(device, content)
        except Failed as failed:
            said = failed.completed.stderr.strip().splitlines()[-1:] if isinstance(failed, ToolFailed) else []
            warn(f"{name} is read whole, its free blocks too: {'; '.join(said) or failed.message}")
            return ()

    for partition in disk.table.partitions if disk.table else ():
        holes = of(f"partition {partition.number}", found.partitions[partition.number], partition.content)
        free += [Range(start=partition.start + r.start, count=r.count) for r in holes]
    for vg in found.layout.vgs:
        start = found.layout.pv_partition(vg.pvs[0]).start + vg.pvs[0].pe_start
        for lv in vg.lvs:
            size = lv.extents * vg.extent_size
            if lv.content.type == "swap":
                # It was made anew: only its first page, the header, means anything.
                holes = (Range(start=lv.content.block_size, count=size - lv.content.block_size),)
            else:
                holes = of(f"LV {lv.name}", found.lvs[lv.uuid], lv.content)
                if lv.uuid in shrunk and lv.content.size:
                    holes = (*holes, Range(start=lv.content.size, count=size - lv.content.size))
            free += place(holes, vg, lv.uuid, start)
    return complement(free, disk.size)
