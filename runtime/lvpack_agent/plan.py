"""The plan: what a layout shall become, by arithmetic alone. No process, no file, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lvpack_agent.compact import Move, compact, moved, truncated
from lvpack_agent.errors import Refused
from lvpack_agent.layout import (
    PV_TYPE,
    Content,
    Disk,
    Layout,
    LogicalVolume,
    PartitionTable,
    VolumeGroup,
    with_partition,
)
from lvpack_agent.options import Margin
from lvpack_agent.sizes import MIB, human, round_up

# A snapshot's chunk of 4 KiB costs 16 bytes in its exception table (kernel: dm-snap-persistent, dm-snap-transient);
# metadata of moved files and directories is rewritten as well. Measured on the sample server: 3 to 6 %.
STORE_OVERHEAD = 1.08
STORE_FLOOR = 8 * MIB
# Growing writes inode tables: at most 256 bytes for each 4 KiB of a filesystem (mke2fs.conf(5), "small").
GROW_OVERHEAD = 1 / 16

# The backup GPT is a header and 128 entries of 128 bytes (UEFI 5.3); the end of the disk keeps to whole MiB.
GPT_TAIL = MIB
GPT_ENTRIES = 128 * 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the plan: what happens to what, its size before and after in bytes, and why."""

    verb: str
    object: str
    type: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """From source to target; store is the estimate in bytes of what the copy-on-write store must take."""

    source: Layout
    target: Layout
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]
    store: int

    @property
    def packed_size(self) -> int:
        return self.target.disks[0].size

    @property
    def moving(self) -> int:
        """The bytes that compaction moves in in-place mode."""
        return sum(m.count for m in self.moves if not m.stays) * self.source.vgs[0].extent_size

    def shrunk_lvs(self) -> frozenset[str]:
        """Return the UUIDs of the LVs that lose extents."""
        pairs = zip(self.source.vgs, self.target.vgs, strict=True)
        lvs = (pair for a, b in pairs for pair in zip(a.lvs, b.lvs, strict=True))
        return frozenset(old.uuid for old, new in lvs if new.extents < old.extents)


def make_plan(source: Layout, margin: Margin, least: Mapping[str, int] = MappingProxyType({})) -> Plan:
    """Return the plan for a layout of one disk and one VG on it.

    least has extents by the UUID of an LV, which it keeps even if its margin asks for less. Raises Refused for a layout
    that this version cannot pack.
    """
    disk, vg = _single(source)
    table = _table(disk)
    shrunk, steps = _shrink(vg, margin, least)
    moves = compact(shrunk)
    compacted = moved(shrunk, moves)
    pv = compacted.pvs[0]
    size = pv.pe_start + pv.extents * vg.extent_size
    compacted = replace(compacted, pvs=(replace(pv, size=size),))
    partition = table.partition(pv.partition)
    end = partition.start + size
    # A partition that cannot be read in whole MiB would make some firmware and `dd bs=1M` unhappy.
    disk_size = round_up(end, MIB) + (GPT_TAIL if table.label == "gpt" else 0)
    if disk_size > disk.size:
        # Nothing to win at the end: the disk was full to its last extent.
        disk_size = disk.size
    packed = with_partition(replace(disk, size=disk_size), replace(partition, size=size))
    extended = table.extended
    if extended:
        packed = with_partition(packed, replace(extended, size=end - extended.start))
        steps.append(
            Step(
                verb="truncate",
                object=f"partition {extended.number}",
                type="extended",
                before=extended.size,
                after=end - extended.start,
                reason=f"ends with partition {partition.number}",
            )
        )
    target = Layout(disks=(packed,), vgs=(compacted,))
    steps += [
        _compact_step(vg, compacted, moves),
        Step(
            verb="truncate",
            object=f"partition {partition.number}",
            type="PV",
            before=partition.size,
            after=size,
            reason="ends right after its last used extent",
        ),
        Step(
            verb="truncate",
            object=f"disk {disk.path}",
            type=table.label,
            before=disk.size,
            after=disk_size,
            reason="ends after the PV" + (", with room for the backup GPT" if table.label == "gpt" else ""),
        ),
    ]
    kept = [
        Step(
            verb="keep",
            object=f"partition {p.number}",
            type=p.content.type or "unknown",
            before=p.size,
            after=p.size,
            reason="stands before the PV",
        )
        for p in table.partitions
        if p not in (partition, extended)
    ]
    return Plan(source=source, target=target, steps=tuple(kept + steps), moves=moves, store=_store(vg, compacted))


def _single(source: Layout) -> tuple[Disk, VolumeGroup]:
    if len(source.disks) != 1 or len(source.vgs) != 1 or len(source.vgs[0].pvs) != 1:
        raise Refused(
            "cannot plan this server: its VGs use more than one disk, or one disk holds more than one VG",
            hint="this version packs one VG with one PV on one disk",
        )
    return source.disks[0], source.vgs[0]


def _table(disk: Disk) -> PartitionTable:
    table = disk.table
    if table is None:
        raise Refused(
            f"cannot pack disk '{disk.path}': it has no partition table",
            hint="this version packs a PV that is in a partition",
        )
    if table.label not in ("dos", "gpt"):
        raise Refused(
            f"cannot pack disk '{disk.path}': its partition table is '{table.label}'",
            hint="lvpack knows msdos and GPT",
        )
    [*_, last] = sorted(table.partitions, key=lambda p: p.start)
    pv = next(p for p in table.partitions if p.content.type == PV_TYPE)
    if table.extended and [p for p in table.partitions if p.number > 4] != [pv]:
        raise Refused(
            f"cannot pack disk '{disk.path}': partition {table.extended.number} is an extended one, and the PV is not "
            "the only logical partition in it",
            hint="this version packs an extended partition that holds the PV and nothing else",
        )
    if last != pv:
        raise Refused(
            f"cannot pack disk '{disk.path}': partition {last.number} stands after the PV (partition {pv.number})",
            hint="this version packs a disk whose last partition is the PV",
        )
    return table


def _shrink(vg: VolumeGroup, margin: Margin, least: Mapping[str, int]) -> tuple[VolumeGroup, list[Step]]:
    lvs, steps = [], []
    for lv in vg.lvs:
        new, reason = _shrunk(lv, vg.extent_size, margin, least.get(lv.uuid, 0))
        lvs.append(new)
        steps.append(
            Step(
                verb="keep" if new.extents == lv.extents else "shrink",
                object=f"LV {lv.name}",
                type=lv.content.type or "unknown",
                before=lv.extents * vg.extent_size,
                after=new.extents * vg.extent_size,
                reason=reason,
            )
        )
    return replace(vg, lvs=tuple(lvs)), steps


def _shrunk(lv: LogicalVolume, extent: int, margin: Margin, least: int) -> tuple[LogicalVolume, str]:
    content = lv.content
    if content.is_ext and content.minimum is not None:
        wanted = content.minimum + margin.of(content.minimum)
        extents = round_up(min(wanted, lv.extents * extent), extent) // extent
        new = truncated(lv, min(max(extents, least), lv.extents))
        size = min(content.size, new.extents * extent // content.block_size * content.block_size)
        reason = f"minimum {human(content.minimum)} + {margin}"
        reason += ", in whole extents" if extents >= least else " takes a larger store than there is room for"
        return replace(new, content=replace(content, size=size)), reason
    if content.type == "swap" and content.block_size:
        new = truncated(lv, 1)
        return replace(new, content=_small_swap(content, extent)), "one extent; UUID, label and page size stay"
    return lv, "kept whole: " + ("no filesystem is recognised" if not content.type else "not ext2/3/4 or swap")


def _small_swap(content: Content, extent: int) -> Content:
    return replace(content, size=min(content.size, extent // content.block_size * content.block_size))


def _compact_step(before: VolumeGroup, after: VolumeGroup, moves: tuple[Move, ...]) -> Step:
    going = [m for m in moves if not m.stays]
    return Step(
        verb="compact",
        object=f"PV in VG {before.name}",
        type="PV",
        before=before.pvs[0].extents * before.extent_size,
        after=after.pvs[0].extents * after.extent_size,
        reason=f"{sum(m.count for m in going)} of {after.pvs[0].extents} extents get lower numbers, in "
        f"{len(going)} range{'' if len(going) == 1 else 's'}; no hole",
    )


def _store(before: VolumeGroup, after: VolumeGroup) -> int:
    """Return the bytes that resize2fs, e2fsck, mkswap and LVM will write, at most, by the block bitmaps."""
    pairs = zip(before.lvs, after.lvs, strict=True)
    return STORE_FLOOR + sum(rewritten(old.content, new.content) for old, new in pairs)


def rewritten(old: Content, new: Content) -> int:
    """Return the bytes that resizing an ext filesystem writes, at most, by its block bitmap."""
    if not old.is_ext or new.size == old.size:
        return 0
    if new.size > old.size:
        return int((new.size - old.size) * GROW_OVERHEAD)
    return int(old.used_beyond(new.size) * STORE_OVERHEAD)


def as_text(plan: Plan, costs: str = "") -> str:
    """Return the plan as a table for people, closed by a line about its costs."""
    disk, vg = plan.source.disks[0], plan.source.vgs[0]
    rows = [("", "what", "holds", "now", "packed", "why")]
    rows += [(s.verb, s.object, s.type, human(s.before), human(s.after), s.reason) for s in plan.steps]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        f"Plan: pack disk {disk.path} ({disk.model or 'no model'}, {human(disk.size)}) with VG {vg.name} "
        f"into {human(plan.packed_size)}"
    ]
    for verb, what, holds, now, packed, why in rows:
        lines.append(
            f"  {verb:<{widths[0]}}  {what:<{widths[1]}}  {holds:<{widths[2]}}"
            f"  {now:>{widths[3]}}  {packed:>{widths[4]}}  {why}".rstrip()
        )
    lines.append(f"  Extents of the PV, {human(vg.extent_size)} each, as they are and as they will be:")
    width = max((len(lv.name) for lv in vg.lvs), default=0)
    for old, new in zip(vg.lvs, plan.target.vgs[0].lvs, strict=True):
        lines.append(f"    LV {old.name:<{width}}  {_extents(old)} -> {_extents(new)}")
    return "\n".join([*lines, f"  {costs or overlay_costs(plan)}"])


def _extents(lv: LogicalVolume) -> str:
    return " ".join(f"{s.pe}-{s.pe + s.count - 1}" for s in lv.segments)


def overlay_costs(plan: Plan, room: int | None = None, place: str = "") -> str:
    """Return what overlay mode needs, for people; room is what the store may take in its place, in bytes."""
    there = f"; {place} has room for {human(room)}" if room is not None else ""
    return f"The copy-on-write store needs about {human(plan.store)}{there}."


def cost_of_fitting(plan: Plan, wished: Plan) -> str:
    """Return, for people, what a plan that fits its store gives away against the one that the margin asks for."""
    return (
        f"the disk is packed into {human(plan.packed_size)}, since there is no more room for the store; a store of "
        f"{human(wished.store - plan.store)} more would make it {human(wished.packed_size)}"
    )


def inplace_costs(plan: Plan) -> str:
    """Return what in-place mode writes to the disk, for people."""
    return (
        f"In place: the shrink moves about {human(plan.store)}, through a store on the share or a scratch device; "
        f"compaction moves {human(plan.moving)}."
    )
