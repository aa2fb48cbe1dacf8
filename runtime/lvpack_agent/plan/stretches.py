"""A packed disk as stretches of its source: which bytes are where."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup
from lvpack_agent.plan.values import Plan, Stretch


def stretches(plan: Plan, index: int = 0) -> tuple[Stretch, ...]:
    """Return the stretches that a packed disk, given by its index, is made of, from its first byte to its last."""
    return tuple(_joined(_of_disk(plan, index)))


def _of_disk(plan: Plan, index: int) -> Iterator[Stretch]:
    source, target = plan.source, plan.target
    disk, packed = source.disks[index], target.disks[index]
    pvs = {pv.partition: (vg, pv) for vg in target.vgs for pv in vg.pvs if pv.disk == index}
    at = before = 0
    rows = packed.in_order()
    for row in rows:
        old = next(p for p in disk.rows if p.number == row.number)
        # A boot loader, or the boot record of a logical partition, may be in the gap.
        gap, lead = row.start - at, min(row.start - at, old.start - before)
        yield Stretch(size=gap - lead)
        yield Stretch(size=lead, disk=index, offset=old.start - lead)
        if row.number in pvs:
            yield from _of_pv(plan, *pvs[row.number])
        else:
            yield Stretch(size=row.size, disk=index, offset=old.start)
        at, before = row.end, old.end
    if not rows and not pvs:
        yield Stretch(size=packed.size, disk=index)
        return
    if not rows:
        yield from _of_pv(plan, *pvs[0])
        at = pvs[0][1].size
    tail = packed.size - at
    if packed.table and packed.table.label == "gpt":
        # The source's own backup GPT is there; sfdisk writes the new one over it, in the overlay.
        yield Stretch(size=tail, disk=index, offset=disk.size - tail)
    else:
        yield Stretch(size=tail)


def _of_pv(plan: Plan, vg: VolumeGroup, pv: PhysicalVolume) -> Iterator[Stretch]:
    old = {pv.uuid: pv for vg in plan.source.vgs for pv in vg.pvs}
    yield Stretch(size=pv.pe_start, disk=pv.disk, offset=plan.source.pv_start(old[pv.uuid]))
    extents = 0
    for move in sorted((m for m in plan.moves if m.home == pv.uuid), key=lambda m: m.target):
        assert move.target == extents, move
        extents += move.count
        giver = old[move.pv]
        offset = plan.source.first_extent(giver) + move.source * vg.extent_size
        yield Stretch(size=move.count * vg.extent_size, disk=giver.disk, offset=offset)
    yield Stretch(size=pv.size - pv.tail - pv.pe_start - extents * vg.extent_size)
    # The second metadata area is written over the source's own, in the overlay: no extent is there.
    end = plan.source.pv_end(old[pv.uuid])
    yield Stretch(size=pv.tail, disk=pv.disk, offset=end - pv.tail)


def _joined(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Yield the stretches without empty ones; those that follow each other on a source disk are joined."""
    last: Stretch | None = None
    for stretch in stretches:
        if not stretch.size:
            continue
        if last and last.disk == stretch.disk and (last.disk is None or last.offset + last.size == stretch.offset):
            last = replace(last, size=last.size + stretch.size)
            continue
        if last:
            yield last
        last = stretch
    if last:
        yield last
