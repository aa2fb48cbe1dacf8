"""Where the partitions of a disk are after a restore that grows, and where the bytes of its image go; arithmetic."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

from lvpack_agent.layout.disks import Disk, Partition
from lvpack_agent.layout.volumes import PhysicalVolume
from lvpack_agent.plan.partitions import FIRST_LOGICAL, LEAD, gpt_tail
from lvpack_agent.plan.values import BIOS_BOOT
from lvpack_agent.sizes import MIB, human, round_down, round_up

# An msdos table counts sectors in 32 bits.
DOS_SECTORS = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """count bytes of an image, from start on, go to the disk's from `to` on; what is in no place is left out."""

    start: int
    count: int
    to: int


def whole_image(size: int) -> tuple[Place, ...]:
    """Return the places of an image that goes to a disk as it is."""
    return (Place(start=0, count=size, to=0),)


def places(packed: Disk, grown: Disk) -> tuple[Place, ...]:
    """Return where the bytes of a packed disk go on a disk that has grown: each partition with the gap before it.

    The gap before the first one has the partition table and may have a boot loader. A gap that is as long on both disks
    goes along as a whole: it may have a boot record of logical partitions, or what nobody knows of. Of another one as
    much goes along as there is on both disks, a MiB at most. Old backup GPTs go nowhere: a grown table brings its own.
    """
    rows = packed.in_order()
    if not rows:
        return whole_image(packed.size)
    found: list[Place] = []
    at = to = 0
    for row, new in zip(rows, grown.in_order(), strict=True):
        gap, room = row.start - at, new.start - to
        lead = gap if not found or gap == room else min(gap, room, LEAD)
        assert row.number == new.number and room >= lead, (row, new)
        found.append(Place(start=row.start - lead, count=lead + row.size, to=new.start - lead))
        at, to = row.end, new.end
    return tuple(found)


def table_limit(packed: Disk, size: int) -> int:
    """Return the first byte that a partition cannot have on a disk of size bytes, by the kind of its table."""
    if packed.table and packed.table.label == "dos":
        size = min(size, DOS_SECTORS * packed.sector_size)
    return round_down(size - gpt_tail(packed), MIB)


def limits(packed: Disk, source: Disk, size: int, pvs: Container[int]) -> Iterator[str]:
    """Yield, for people, why not all of a disk of size bytes is used; pvs has the partitions of its PVs."""
    most = DOS_SECTORS * packed.sector_size
    if (boot := holding(source, pvs)) and size - source.size >= MIB:
        yield (
            f"partition {boot.number}, a BIOS boot partition after the last PV, stays where GRUB was told to find it, "
            f"so {human(size - source.size)} of the disk stay unused"
        )
    if packed.table and packed.table.label == "dos" and size > most:
        yield (
            f"its msdos partition table ends at {human(most)}, so {human(size - most)} of the disk stay unused; a GPT "
            "has no such limit, and is made by hand (gdisk)"
        )


def holding(disk: Disk, pvs: Container[int]) -> Partition | None:
    """Return a BIOS boot partition after the last PV: GRUB has the number of its first sector, so it must not move."""
    rows = disk.in_order()
    last = max((at for at, row in enumerate(rows) if row.number in pvs), default=len(rows))
    return next((row for row in rows[last + 1 :] if row.type.upper() == BIOS_BOOT), None)


def grown_disk(packed: Disk, source: Disk, target: Disk, lost: Mapping[int, int], collapsed: bool) -> Disk:
    """Return what a packed disk becomes on a target: its last PV reaches the end, what stands after it the disk's end.

    lost has, by the partition of each PV, how many bytes smaller it is than what it stands for on the source; with
    collapsed that includes PVs of other disks. The table of a disk that is no smaller than its source is the source's
    again, with the last PV larger, unless a BIOS boot partition stands after it. On another one the PVs share what
    there is in proportion to what they lost.
    """
    whole = replace(
        packed, path=target.path, size=target.size, model=target.model, serial=target.serial, wwn=target.wwn
    )
    if packed.table is None or not lost:
        return whole
    end = max(table_limit(packed, target.size), _end(packed))
    fits = all(
        new.size <= old.size and (new.size == old.size or new.number in lost)
        for old, new in zip(source.rows, packed.rows, strict=True)
    )
    as_before = target.size >= source.size and fits and not collapsed
    base = source if as_before else packed
    # The source may use what is after the last whole MiB.
    shift = max(end, _end(base)) - _end(base) if not (as_before and holding(base, lost)) else 0
    gains = dict.fromkeys(lost, 0) if as_before else _gains(lost, shift)
    last = [row.number for row in base.in_order() if row.number in lost][-1]
    gains[last] = shift - sum(gains[number] for number in lost if number != last)
    if base.in_order()[-1].number != last:
        # What is after the last partition of the source stays free.
        most = min(gains[last], target.size - source.size) if as_before else gains[last]
        gains[last] = round_down(most, MIB)
    return replace(whole, table=replace(packed.table, last_sector=None, partitions=_moved(base, packed, gains)))


def _end(disk: Disk) -> int:
    return max(row.end for row in disk.rows)


def _gains(lost: Mapping[int, int], room: int) -> dict[int, int]:
    """Return how many bytes each PV gains, in whole MiB, so that those after it move by whole MiB."""
    wanted = {number: round_up(size, MIB) for number, size in lost.items()}
    total = sum(wanted.values())
    if total <= room:
        return wanted
    return {number: round_down(room * size // total, MIB) for number, size in wanted.items()}


def _moved(base: Disk, packed: Disk, gains: Mapping[int, int]) -> tuple[Partition, ...]:
    """Return the rows of a packed disk at the places of base, with PVs that gain, and the others after them."""
    placed: dict[int, Partition] = {}
    shift = 0
    for row in base.in_order():
        same = next(p for p in packed.rows if p.number == row.number)
        size = row.size + gains[row.number] if row.number in gains else same.size
        placed[row.number] = replace(same, start=row.start + shift, size=size)
        shift += gains.get(row.number, 0)
    if base.extended and packed.extended:
        inside = [row for row in base.rows if row.number >= FIRST_LOGICAL]
        first = min(inside, key=lambda row: row.start)
        start = placed[first.number].start - (first.start - base.extended.start)
        end = max(placed[row.number].end for row in inside)
        placed[packed.extended.number] = replace(packed.extended, start=start, size=end - start)
    return tuple(placed[row.number] for row in packed.rows)


def grown_pv(pv: PhysicalVolume, source: PhysicalVolume, extent_size: int, room: int) -> PhysicalVolume:
    """Return a packed PV as it is with room bytes of its partition or disk: with as many extents as there is room for.

    A second metadata area ends the PV, also if a part of an extent is left. The source's PV had its area where another
    one might not fit any more: if that is what there is room for, it is as it was.
    """
    end = round_down(room - pv.tail, MIB) if pv.tail else room
    extents = max(0, end - pv.pe_start) // extent_size
    new = replace(pv, extents=max(extents, pv.extents), second_area=None)
    if new.extents <= pv.extents:
        return pv if pv.tail or not pv.partition else replace(pv, size=max(pv.size, room))
    if new.extents < source.extents and source.tail == pv.tail:
        again = replace(pv, extents=source.extents, second_area=source.second_area)
        new = again if again.least_size(extent_size) <= room else new
    if new.tail or not pv.partition:
        return new.ending_early(extent_size)
    return replace(new, size=room)
