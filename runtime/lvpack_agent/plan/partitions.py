"""Where the partitions of a packed disk are, and how large it is."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lvpack_agent.errors import Refused
from lvpack_agent.layout.disks import Disk, Partition
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.sizes import MIB, round_up

# The backup GPT is a header and 128 entries of 128 bytes (UEFI 5.3); the end of the disk keeps to whole MiB.
GPT_TAIL = MIB
GPT_ENTRIES = 128 * 128

# What is kept of a gap before a partition that moves; tools that align to a MiB leave no more.
LEAD = MIB
# sfdisk(8): logical partitions have numbers from 5 on.
FIRST_LOGICAL = 5


def pv_sizes(vgs: Iterable[VolumeGroup], index: int) -> dict[int, int]:
    """Return the sizes of the PVs on a disk by partition."""
    return {pv.partition: pv.size for vg in vgs for pv in vg.pvs if pv.disk == index}


def packed_disk(disk: Disk, sizes: Mapping[int, int]) -> Disk:
    """Return what a disk is packed into; sizes has the sizes of its PVs by the number of their partition."""
    if not disk.rows and not sizes:
        return disk
    rows = _placed(disk, sizes)
    end = max((row.end for row in rows), default=sizes.get(0, 0))
    old_end = max((row.end for row in disk.rows), default=disk.size)
    # A partition that cannot be read in whole MiB would make some firmware and `dd bs=1M` unhappy.
    size = round_up(end, MIB) + gpt_tail(disk)
    if size > disk.size and end <= old_end:
        # Nothing to win at the end: the disk was full to its last extent.
        size = disk.size
    return replace(disk, size=size, table=replace(disk.table, partitions=rows) if disk.table else None)


def gpt_tail(disk: Disk) -> int:
    """Return the bytes at the end of a packed disk that a backup GPT needs."""
    return GPT_TAIL if disk.table and disk.table.label == "gpt" else 0


def _placed(disk: Disk, sizes: Mapping[int, int]) -> tuple[Partition, ...]:
    """Return the partitions of the packed disk; sizes has the sizes of the PVs by the number of their partition.

    What stands after a PV that got smaller moves down. It keeps its offset within a MiB, and at most a MiB of the gap
    before it, where the boot record of a logical partition may be.
    """
    placed: dict[int, Partition] = {}
    at = before = 0
    for row in disk.in_order():
        start = row.start
        if at != before:
            start = at + min(row.start - before, LEAD)
            start += (row.start - start) % MIB
            if at < before:
                start = min(start, row.start)
        placed[row.number] = replace(row, start=start, size=sizes.get(row.number, row.size))
        at, before = placed[row.number].end, row.end
    if disk.extended:
        placed[disk.extended.number] = _around(disk.extended, disk, placed)
    return tuple(placed[row.number] for row in disk.rows)


def _around(extended: Partition, disk: Disk, placed: Mapping[int, Partition]) -> Partition:
    """Return an extended partition around its logical ones in their new places."""
    inside = [row for row in disk.rows if row.number >= FIRST_LOGICAL]
    if not inside:
        raise Refused(
            f"cannot pack disk '{disk.path}': partition {extended.number} is an extended one with nothing in it",
            hint="remove it with fdisk first",
        )
    first = min(inside, key=lambda row: row.start)
    stays = placed[first.number].start == first.start
    start = extended.start if stays else placed[first.number].start - min(first.start - extended.start, LEAD)
    return replace(extended, start=start, size=max(placed[row.number].end for row in inside) - start)
