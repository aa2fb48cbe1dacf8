"""In-place mode's procedure: a plan as a list of steps, each small enough to be done again after a power loss.

Pure arithmetic. `states()` says what the VG looks like between any two steps, so that a later boot can tell from the
disk how far an earlier one came, and notice a disk that is none of these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment, joined_segments
from lvpack_agent.layout.volumes import LogicalVolume, MetadataArea, PhysicalVolume, VolumeGroup
from lvpack_agent.lvm.tags import TAG
from lvpack_agent.plan.compact import one_by_one, relocated, truncated
from lvpack_agent.plan.partitions import GPT_ENTRIES
from lvpack_agent.plan.values import Plan
from lvpack_agent.sizes import human


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeFilesystem:
    """Check an ext filesystem and resize it to new.size on a persistent snapshot, which is then merged.

    It is that of LV lv (a UUID), or of a partition (a number) if lv is "".
    """

    name: str
    lv: str = ""
    partition: int = 0
    old: Content
    new: Content

    def __str__(self) -> str:
        if self.old.size == self.new.size:
            return f"repair {self.name}"
        return f"resize {self.name} from {human(self.old.size)} to {human(self.new.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeSwap:
    """Make the swap area of an LV anew, with its UUID and label."""

    name: str
    lv: str
    new: Content

    def __str__(self) -> str:
        return f"swap {self.name} of {human(self.new.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkVg:
    """Tag the VG while its filesystems may be half merged, so that nobody packs them without the journal."""

    on: bool

    def __str__(self) -> str:
        return f"{'mark' if self.on else 'unmark'} the VG (tag {TAG})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceLv:
    """Cut an LV to its first extents; content is what must be on them."""

    name: str
    lv: str
    extents: int
    content: Content

    def __str__(self) -> str:
        return f"reduce {self.name} to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLv:
    """Give an LV a segment at its end, linear or striped, on just these extents of the PV."""

    name: str
    lv: str
    segment: Segment

    def __str__(self) -> str:
        return f"extend {self.name} by {_extents(self.segment.count)} at {self.segment.pe}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveExtents:
    """Move extents that belong to one segment, by one pvmove."""

    move: Move

    def __str__(self) -> str:
        return f"move {_extents(self.move.count)} from {self.move.source} to {self.move.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveArea:
    """Take the second metadata area of the PV out of its label: pvresize does not move it safely (pvlabel)."""

    def __str__(self) -> str:
        return "remove-area: the PV's second metadata area"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddArea:
    """Give the PV a second metadata area, with a copy of what the first has."""

    area: MetadataArea

    def __str__(self) -> str:
        return f"add-area: a second metadata area of {human(self.area.size)} at byte {self.area.start:,} of the PV"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePv:
    """Let the PV end after this number of extents."""

    extents: int

    def __str__(self) -> str:
        return f"resize-pv to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTable:
    """Write the partition table for a disk that ends at size bytes."""

    table: PartitionTable
    size: int

    def __str__(self) -> str:
        return f"table for a disk of {human(self.size)}"


def _extents(count: int) -> str:
    return f"{count} extent{'' if count == 1 else 's'}"


Step = (
    MarkVg
    | ResizeFilesystem
    | MakeSwap
    | ReduceLv
    | ExtendLv
    | MoveExtents
    | RemoveArea
    | ResizePv
    | AddArea
    | WriteTable
)


def shrinking(plan: Plan, unclean: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """Return the steps from plan.source to plan.target; none if there is nothing to do.

    unclean: names ("LV root", "partition 1") of filesystems that are kept but have a journal to replay.
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
    """Return what pvmove has to move, in pieces of one segment."""
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


def marks(steps: Iterable[Step]) -> tuple[bool, ...]:
    """Return whether the VG has TAG before the first step and after each."""
    found = [False]
    for step in steps:
        found.append(step.on if isinstance(step, MarkVg) else found[-1])
    return tuple(found)


def states(vg: VolumeGroup, steps: tuple[Step, ...]) -> tuple[VolumeGroup, ...]:
    """Return the VG before the first step and after each."""
    found = [vg]
    for step in steps:
        found.append(after(found[-1], step))
    return tuple(found)


def after(vg: VolumeGroup, step: Step) -> VolumeGroup:
    """Return what a step makes of the extents of a VG; filesystems play no part."""
    match step:
        case ReduceLv():
            return _with_lv(vg, truncated(_lv(vg, step.lv), step.extents))
        case ExtendLv():
            lv = _lv(vg, step.lv)
            assert lv.extents == step.segment.le, step
            return _with_lv(vg, replace(lv, segments=joined_segments((*lv.segments, step.segment))))
        case MoveExtents():
            return relocated(vg, step.move)
        case ResizePv():
            return replace(vg, pvs=(replace(vg.pvs[0], extents=step.extents),))
        case RemoveArea():
            return replace(vg, pvs=(replace(vg.pvs[0], metadata_areas=1),))
        case AddArea():
            return replace(vg, pvs=(replace(vg.pvs[0], metadata_areas=2),))
        case _:
            return vg


def _lv(vg: VolumeGroup, uuid: str) -> LogicalVolume:
    return next(lv for lv in vg.lvs if lv.uuid == uuid)


def _with_lv(vg: VolumeGroup, lv: LogicalVolume) -> VolumeGroup:
    return replace(vg, lvs=tuple(lv if old.uuid == lv.uuid else old for old in vg.lvs))


def same_extents(one: VolumeGroup, other: VolumeGroup) -> bool:
    """Return whether two VGs have the same LVs on the same extents, and PVs of as many extents and metadata areas."""

    def shape(vg: VolumeGroup) -> object:
        pvs = {pv.uuid: (pv.pe_start, pv.extents, pv.metadata_areas) for pv in vg.pvs}
        return vg.uuid, vg.extent_size, pvs, {lv.uuid: joined_segments(lv.segments) for lv in vg.lvs}

    return shape(one) == shape(other)


def form(steps: tuple[Step, ...]) -> tuple[dict[str, Any], ...]:
    """Return the JSON form of steps, as a journal's Record has them."""
    return tuple({"step": type(step).__name__, **to_json(step)} for step in steps)
