"""The rows of a plan's table: what happens to each disk, partition, PV and LV, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup
from lvpack_agent.plan.compact import Homes
from lvpack_agent.plan.partitions import gpt_tail, pv_sizes
from lvpack_agent.plan.values import LEAVE_OUT, Plan, Row
from lvpack_agent.sizes import MIB, human


def of_disk(old: Disk, new: Disk) -> Row:
    """Return the row of a disk as a whole."""
    if new is old:
        verb, kind, reason = "keep", old.content.type or "unknown", "has no partition: as it is"
    else:
        verb, kind, reason = "truncate", "PV", "ends after what is last on it"
        reason += ", with room for the backup GPT" if gpt_tail(old) else ""
    return Row(
        verb=verb,
        object=f"disk {old.path}",
        type=old.table.label if old.table else kind,
        before=old.size,
        after=new.size,
        reason=reason,
    )


def leaving_out(plan: Plan, others: Iterable[tuple[str, int]]) -> Plan:
    """Return the plan with a row for each disk that is left out; others are their names and sizes in bytes."""
    rows = (
        Row(verb=LEAVE_OUT, object=name, type="", before=size, after=0, reason="shares no VG with what is packed")
        for name, size in others
    )
    return replace(plan, rows=(*plan.rows, *rows))


def of_partitions(source: Layout, target: Layout, index: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of a disk's partitions that stay as they are, and those of the others."""
    disk, packed, sizes = source.disks[index], target.disks[index], pv_sizes(target.vgs, index)
    kept: list[Row] = []
    changed: list[Row] = []
    old_end = new_end = 0
    for old, new in sorted(zip(disk.rows, packed.rows, strict=True), key=lambda pair: pair[0].start):
        if old is not disk.extended:
            before, after = old.start - old_end, new.start - new_end
            if before - after >= MIB:
                gap = Row(
                    verb=LEAVE_OUT,
                    object=f"gap before {source.partition_name(index, old.number)}",
                    type="",
                    before=before,
                    after=after,
                    reason="belongs to no partition",
                )
                changed.append(gap)
            old_end, new_end = old.end, new.end
        if old.number in sizes:
            kind, verb, reason = "PV", "truncate", "ends right after its last used extent"
        elif old is disk.extended:
            kind, verb, reason = "extended", "truncate", "ends with the last partition in it"
        elif old.start == new.start:
            kind, verb, reason = old.content.type or "unknown", "keep", "as it is"
        else:
            kind, verb, reason = (
                old.content.type or "unknown",
                "move",
                f"to byte {new.start:,}, after what stands before",
            )
        row = Row(
            verb=verb,
            object=source.partition_name(index, old.number),
            type=kind,
            before=old.size,
            after=new.size,
            reason=reason,
        )
        (kept if verb == "keep" else changed).append(row)
    return kept, changed


def of_pvs(
    source: Layout, before: VolumeGroup, after: VolumeGroup, moves: tuple[Move, ...], homes: Homes
) -> Iterator[Row]:
    """Yield the row of each PV: compacted, or, on a disk that is not packed by itself, collapsed."""
    old = {pv.uuid: pv for pv in before.pvs}
    for pv in after.pvs:
        going = [m for m in moves if m.home == pv.uuid and not m.stays]
        yield Row(
            verb="compact",
            object=_pv_name(source, after, pv),
            type="PV",
            before=old[pv.uuid].extents * before.extent_size,
            after=pv.extents * after.extent_size,
            reason=f"{sum(m.count for m in going)} of {pv.extents} extents get other numbers, in "
            f"{len(going)} range{'' if len(going) == 1 else 's'}; no hole" + _about_metadata(old[pv.uuid], pv),
        )
    for pv in before.pvs:
        if pv.uuid in homes:
            going = [m for m in moves if m.pv == pv.uuid]
            taker = source.disks[old[homes[pv.uuid]].disk]
            yield Row(
                verb="collapse",
                object=f"PV on {source.partition_name(pv.disk, pv.partition)}",
                type="PV",
                before=pv.extents * before.extent_size,
                after=0,
                reason=f"its {sum(m.count for m in going)} used extents go to {taker.path}",
            )


def _about_metadata(before: PhysicalVolume, after: PhysicalVolume) -> str:
    if after.metadata_areas > before.metadata_areas:
        return "; gets a metadata area, as the PVs that have one are collapsed"
    return f"; {human(after.tail)} after them for the second metadata area" if after.tail else ""


def _pv_name(source: Layout, vg: VolumeGroup, pv: PhysicalVolume) -> str:
    if len(vg.pvs) == 1:
        return f"PV in VG {vg.name}"
    where = source.partition_name(pv.disk, pv.partition)
    return f"PV in {where}" if pv.partition else f"PV on {where}"
