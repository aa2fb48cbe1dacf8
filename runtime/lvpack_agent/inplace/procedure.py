"""Which steps pack a disk as planned, and which give it back its former sizes. Pure arithmetic.

The order is what makes a power loss harmless: a filesystem shrinks before its LV, extents move before the PV ends
earlier, and the partition table is last; growing goes the other way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lvpack_agent.inplace.states import marks, states
from lvpack_agent.inplace.steps import (
    AddArea,
    ExtendLv,
    MakeSwap,
    MarkVg,
    MoveExtents,
    ReduceLv,
    RemoveArea,
    ResizeFilesystem,
    ResizePv,
    Step,
    WriteTable,
)
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.plan.compact import one_by_one, truncated
from lvpack_agent.plan.partitions import GPT_ENTRIES
from lvpack_agent.plan.values import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """All steps of a run in order, and what the VG is like between them.

    The disk is packed after the first packed_after steps; the others regrow it. states has the VG before the first
    step and after each, marks whether it has the tag of an unfinished run then: both are one longer than steps.
    """

    steps: tuple[Step, ...]
    packed_after: int
    states: tuple[VolumeGroup, ...]
    marks: tuple[bool, ...]

    @property
    def shrinking(self) -> tuple[Step, ...]:
        """The steps that pack the disk."""
        return self.steps[: self.packed_after]


def make_procedure(plan: Plan, unclean: tuple[str, ...]) -> Procedure:
    """Return the procedure of a plan; unclean as in shrinking(). The same arguments always give the same steps."""
    packing = shrinking(plan, unclean)
    steps = packing + regrowing(plan)
    return Procedure(
        steps=steps,
        packed_after=len(packing),
        states=states(plan.source.vgs[0], steps),
        marks=marks(steps),
    )


def shrinking(plan: Plan, unclean: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """Return the steps from plan.source to plan.target; none if there is nothing to do.

    unclean: names ("LV root", "partition 1") of filesystems that keep their size but have a journal to replay.
    """
    steps: list[Step] = []
    source, target = plan.source.disks[0], plan.target.disks[0]
    for row in source.rows:
        name = f"partition {row.number}"
        if name in unclean:
            steps.append(ResizeFilesystem(name=name, partition=row.number, old=row.content, new=row.content))
    vg, packed = plan.source.vgs[0], plan.target.vgs[0]
    for old, new in zip(vg.lvs, packed.lvs, strict=True):
        steps += _content(old, new, unclean)
        if new.extents < old.extents:
            steps.append(ReduceLv(name=f"LV {old.name}", lv=old.uuid, extents=new.extents, content=new.content))
    steps = _marked(steps)
    steps += [MoveExtents(move=move) for move in _moves(plan)]
    steps += _resized(vg.pvs[0], packed.pvs[0])
    if source.table and target.table:
        as_it_is = _ends_at(source.table, target.size, source.sector_size)
        if not as_it_is or not _same_rows(source.table, target.table):
            steps.append(WriteTable(table=target.table, size=target.size))
    return tuple(steps)


def regrowing(plan: Plan) -> tuple[Step, ...]:
    """Return the steps from plan.target back to plan.source: the same sizes, and every extent where it was."""
    steps: list[Step] = []
    source, target = plan.source.disks[0], plan.target.disks[0]
    vg, packed = plan.source.vgs[0], plan.target.vgs[0]
    if source.table and target.table and (not _same_rows(source.table, target.table) or source.size != target.size):
        steps.append(WriteTable(table=source.table, size=source.size))
    steps += _resized(packed.pvs[0], vg.pvs[0])
    steps += [MoveExtents(move=move.reversed()) for move in reversed(_moves(plan))]
    resizing: list[Step] = []
    for old, new in zip(vg.lvs, packed.lvs, strict=True):
        resizing += [
            ExtendLv(name=f"LV {old.name}", lv=old.uuid, segment=segment) for segment in _beyond(old, new.extents)
        ]
        resizing += _content(new, old, ())
    return tuple(steps + _marked(resizing))


def _resized(old: PhysicalVolume, new: PhysicalVolume) -> Iterator[Step]:
    moves_area = new.second_area and (old.extents, old.second_area) != (new.extents, new.second_area)
    if moves_area:
        yield RemoveArea()
    if old.extents != new.extents:
        yield ResizePv(extents=new.extents)
    if moves_area and new.second_area:
        yield AddArea(area=new.second_area)


def _moves(plan: Plan) -> tuple[Move, ...]:
    """Return what pvmove has to move, in moves of extents of one segment each."""
    vg, packed = plan.source.vgs[0], plan.target.vgs[0]
    cut = tuple(truncated(old, new.extents) for old, new in zip(vg.lvs, packed.lvs, strict=True))
    return one_by_one(replace(vg, lvs=cut), tuple(move for move in plan.moves if not move.stays))


def _marked(steps: list[Step]) -> list[Step]:
    if not any(isinstance(step, ResizeFilesystem) for step in steps):
        return steps
    return [MarkVg(on=True), *steps, MarkVg(on=False)]


def _content(old: LogicalVolume, new: LogicalVolume, unclean: tuple[str, ...]) -> Iterator[Step]:
    name = f"LV {old.name}"
    if old.content.is_ext and (new.content.size != old.content.size or name in unclean):
        yield ResizeFilesystem(name=name, lv=old.uuid, old=old.content, new=new.content)
    elif old.content.type == "swap" and new.content.size != old.content.size:
        yield MakeSwap(name=name, lv=old.uuid, new=new.content)


def _beyond(lv: LogicalVolume, extents: int) -> Iterator[Segment]:
    for s in lv.segments:
        cut = max(0, extents - s.le)
        if cut < s.count:
            offset = cut // len(s.areas)
            places = [replace(area, pe=area.pe + offset) for area in s.areas]
            yield s.part(offset, s.length - offset, places)


def _same_rows(one: PartitionTable, other: PartitionTable) -> bool:
    return one.bare() == other.bare()


def _ends_at(table: PartitionTable, size: int, sector: int) -> bool:
    """Return whether a GPT was written for a disk of that size: its backup is at that end (UEFI 5.3.1)."""
    return table.label != "gpt" or table.last_sector == size // sector - GPT_ENTRIES // sector - 2


def form(steps: tuple[Step, ...]) -> tuple[dict[str, Any], ...]:
    """Return steps as a journal's Record has them: for each an object for JSON, with the name of its class."""
    return tuple({"step": type(step).__name__, **to_json(step)} for step in steps)
