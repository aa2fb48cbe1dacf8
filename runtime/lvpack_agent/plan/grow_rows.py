"""The rows of the plan of a restore: what is packed, what it is on this disk, and why."""

from collections.abc import Mapping

from lvpack_agent.layout.disks import Disk, Partition
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.plan.values import Row
from lvpack_agent.sizes import human


def rows_of(source: Layout, packed: Layout, target: Layout, why: Mapping[str, str]) -> tuple[Row, ...]:
    """Return a row for each disk, partition, LV and VG's free space; why has the reasons of LVs by their UUIDs."""
    rows: list[Row] = []
    for index, (old, new) in enumerate(zip(packed.disks, target.disks, strict=True)):
        pvs = {pv.partition for vg in packed.vgs for pv in vg.pvs if pv.disk == index}
        rows.append(
            Row(
                verb="write",
                object=f"disk {new.path}",
                type=old.table.label if old.table else "PV" if 0 in pvs else old.content.type or "unknown",
                before=old.size,
                after=new.size,
                reason=f"the source's had {human(source.disks[index].size)}",
            )
        )
        for before, after in zip(old.rows, new.rows, strict=True):
            rows.append(_of_partition(target, index, old, before, after, pvs))
    before_vgs = {vg.uuid: vg for vg in source.vgs}
    for old_vg, new_vg in zip(packed.vgs, target.vgs, strict=True):
        for lv, new_lv in zip(old_vg.lvs, new_vg.lvs, strict=True):
            rows.append(_of_lv(new_vg, lv, new_lv, why.get(lv.uuid, "as packed"), several=len(packed.vgs) > 1))
        rows.append(_of_free(before_vgs.get(old_vg.uuid, old_vg), old_vg, new_vg))
    return tuple(rows)


def _of_partition(target: Layout, index: int, disk: Disk, before: Partition, after: Partition, pvs: set[int]) -> Row:
    is_pv, around = before.number in pvs, before is disk.extended
    moves = f"moves to byte {after.start:,}" if after.start != before.start else ""
    grows = "" if after.size == before.size else "up to what stands after it, or the end of the disk"
    if around and not moves:
        grows = grows and "around the logical partitions"
    return Row(
        verb="grow" if after.size > before.size else "move" if moves else "keep",
        object=target.partition_name(index, before.number),
        type="PV" if is_pv else "extended" if around else before.content.type or "unknown",
        before=before.size,
        after=after.size,
        reason="; ".join(filter(None, [moves, grows])) or "as packed",
    )


def _of_lv(vg: VolumeGroup, old: LogicalVolume, new: LogicalVolume, why: str, *, several: bool) -> Row:
    if old.content.size < new.content.size < new.extents * vg.extent_size and old.content.type != "swap":
        why += f"; the {new.content.type} on it {human(new.content.size)}"
    return Row(
        verb="grow" if new.extents > old.extents else "keep",
        object=f"LV {vg.name}/{new.name}" if several else f"LV {new.name}",
        type=new.content.type or "unknown",
        before=old.extents * vg.extent_size,
        after=new.extents * vg.extent_size,
        reason=why,
    )


def _of_free(source: VolumeGroup, old: VolumeGroup, new: VolumeGroup) -> Row:
    was, before, after = (_free(vg) for vg in (source, old, new))
    return Row(
        verb="leave",
        object=f"free in VG {new.name}",
        type="",
        before=before,
        after=after,
        reason=f"the source's had {human(was)}",
    )


def _free(vg: VolumeGroup) -> int:
    return (sum(pv.extents for pv in vg.pvs) - sum(lv.extents for lv in vg.lvs)) * vg.extent_size
