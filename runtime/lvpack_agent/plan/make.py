"""The plan: what a layout shall become, by arithmetic alone. No process, no file, no clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lvpack_agent.errors import Refused
from lvpack_agent.layout.content import PV_TYPE, Content
from lvpack_agent.layout.disks import Disk, Partition
from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.plan.compact import Homes, compact, moved, truncated, whole_stripes
from lvpack_agent.settings.table import Margin
from lvpack_agent.sizes import KIB, MIB, human, round_up

# A snapshot's chunk of 4 KiB costs 16 bytes in its exception table (kernel: dm-snap-persistent, dm-snap-transient);
# metadata of moved files and directories is rewritten as well. Measured on the sample server: 3 to 6 %.
STORE_OVERHEAD = 1.08
STORE_FLOOR = 8 * MIB
# Growing writes inode tables: at most 256 bytes for each 4 KiB of a filesystem (mke2fs.conf(5), "small").
GROW_OVERHEAD = 1 / 16

# The part of its size that an XFS must lose to be worth a copy of all its files.
REBUILD_GAIN = 1 / 16

# The backup GPT is a header and 128 entries of 128 bytes (UEFI 5.3); the end of the disk keeps to whole MiB.
GPT_TAIL = MIB
GPT_ENTRIES = 128 * 128
# The label and what LVM 2.03.31 takes at least for a metadata area (lib/format_text/layout.h: LABEL_SCAN_SIZE in whole
# pages, MDA_SIZE_MIN), with as much again: a text has to fit twice.
LEAST_METADATA = 68 * KIB
# What is kept of a gap before a partition that moves; tools that align to a MiB leave no more.
LEAD = MIB
# sfdisk(8): logical partitions have numbers from 5 on.
FIRST_LOGICAL = 5
# GRUB manual, "BIOS installation": the type of the partition of a GPT that has what an msdos disk has in its gap.
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
# Why what an LV holds keeps its size, by its type.
_WHOLE = {"": "no filesystem is recognised", "xfs": "an XFS that is not made anew"}
# The verb of steps whose object the packed disk has not.
LEAVE_OUT = "leave out"


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
class Piece:
    """size bytes of the packed disk: those of a source disk, by its index, from offset on; disk None is zeros."""

    size: int
    disk: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """From source to target; store is the estimate in bytes of what the copy-on-write store takes.

    The target's disks are the packed ones: what becomes of the first disks of the source, in their order. The other
    disks of the source are collapsed into the first. moves are those of all PVs.
    """

    source: Layout
    target: Layout
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]
    store: int

    @property
    def packed_size(self) -> int:
        """The bytes of all packed disks."""
        return sum(disk.size for disk in self.target.disks)

    @property
    def moving(self) -> int:
        """The bytes that compaction moves in in-place mode."""
        return sum(m.count for m in self.moves if not m.stays) * self.source.vgs[0].extent_size

    def lvs(self) -> Iterator[tuple[LogicalVolume, LogicalVolume]]:
        """Yield each LV as it is and as it will be."""
        for old, new in zip(self.source.vgs, self.target.vgs, strict=True):
            yield from zip(old.lvs, new.lvs, strict=True)

    def shrunk_lvs(self) -> frozenset[str]:
        """Return the UUIDs of the LVs that lose extents."""
        return frozenset(old.uuid for old, new in self.lvs() if new.extents < old.extents)

    def moved_boot_loaders(self) -> Iterator[str]:
        """Yield the names of BIOS boot partitions that move: GRUB knows the place of its second part by sector."""
        for index, packed in enumerate(self.target.disks):
            for old, new in zip(self.source.disks[index].rows, packed.rows, strict=True):
                if old.type.upper() == BIOS_BOOT and old.start != new.start:
                    yield self.source.partition_name(index, old.number)

    def pieces(self, index: int = 0) -> tuple[Piece, ...]:
        """Return what a packed disk is made of, from its first byte to its last."""
        return tuple(_joined(_pieces(self, index)))


def make_plan(
    source: Layout, margin: Margin, least: Mapping[str, int] = MappingProxyType({}), *, kept: int = 1
) -> Plan:
    """Return the plan for a layout whose first disks are packed, so many as kept says.

    The others give them the extents of their PVs. least has extents by the UUID of an LV, which it keeps even if its
    margin asks for less. Raises Refused for a layout that this version cannot pack.
    """
    _refuse_other_disks(source, kept)
    steps: list[Step] = []
    moves: list[Move] = []
    packed_vgs: list[VolumeGroup] = []
    for vg in source.vgs:
        shrunk, how = _shrink(vg, margin, least)
        homes = _homes(vg, kept)
        going = compact(shrunk, homes)
        packed_vg = moved(shrunk, going, homes)
        pvs = (pv.ending_early(vg.extent_size) for pv in _with_metadata(packed_vg))
        packed_vgs.append(replace(packed_vg, pvs=tuple(pvs)))
        steps += [*how, *_compact_steps(source, vg, packed_vgs[-1], going, homes)]
        moves += going
    packed = tuple(_packed(disk, _pv_sizes(packed_vgs, index)) for index, disk in enumerate(source.disks[:kept]))
    target = Layout(disks=packed, vgs=tuple(packed_vgs))
    rows = [_partition_steps(source, target, index) for index in range(kept)]
    steps = [*(step for same, _ in rows for step in same), *steps, *(step for _, changed in rows for step in changed)]
    steps += [_disk_step(old, new) for old, new in zip(source.disks, packed, strict=False)]
    plan = Plan(source=source, target=target, steps=tuple(steps), moves=tuple(moves), store=0)
    return replace(plan, store=_store(plan))


def _pv_sizes(vgs: Iterable[VolumeGroup], index: int) -> dict[int, int]:
    """Return the sizes of the PVs on a disk by partition."""
    return {pv.partition: pv.size for vg in vgs for pv in vg.pvs if pv.disk == index}


def _packed(disk: Disk, sizes: Mapping[int, int]) -> Disk:
    """Return what a disk is packed into; sizes are those of its PVs by partition."""
    if not disk.rows and not sizes:
        return disk
    rows = _placed(disk, sizes)
    end, old_end = (max((row.end for row in ends), default=sizes.get(0, 0)) for ends in (rows, disk.rows))
    # A partition that cannot be read in whole MiB would make some firmware and `dd bs=1M` unhappy.
    size = round_up(end, MIB) + _tail(disk)
    if size > disk.size and end <= old_end:
        # Nothing to win at the end: the disk was full to its last extent.
        size = disk.size
    return replace(disk, size=size, table=replace(disk.table, partitions=rows) if disk.table else None)


def _tail(disk: Disk) -> int:
    return GPT_TAIL if disk.table and disk.table.label == "gpt" else 0


def _disk_step(old: Disk, new: Disk) -> Step:
    if new is old:
        verb, kind, reason = "keep", old.content.type or "unknown", "has no partition: as it is"
    else:
        verb, kind, reason = "truncate", "PV", "ends after what is last on it"
        reason += ", with room for the backup GPT" if _tail(old) else ""
    return Step(
        verb=verb,
        object=f"disk {old.path}",
        type=old.table.label if old.table else kind,
        before=old.size,
        after=new.size,
        reason=reason,
    )


def leaving_out(plan: Plan, others: Iterable[tuple[str, int]]) -> Plan:
    """Return the plan with disks of the server, by name and size, that the packed disk will have nothing of."""
    steps = (
        Step(verb=LEAVE_OUT, object=name, type="", before=size, after=0, reason="shares no VG with what is packed")
        for name, size in others
    )
    return replace(plan, steps=(*plan.steps, *steps))


def _refuse_other_disks(source: Layout, kept: int) -> None:
    """Raise Refused for disks that cannot be packed, or, those after the kept ones, cannot be collapsed."""
    for disk in source.disks:
        if disk.table and disk.table.label not in ("dos", "gpt"):
            raise Refused(
                f"cannot pack disk '{disk.path}': its partition table is '{disk.table.label}'",
                hint="lvpack knows msdos and GPT",
            )
        if disk.sector_size != source.disks[0].sector_size:
            raise Refused(
                f"cannot pack '{disk.path}' with '{source.disks[0].path}': they have sectors of "
                f"{disk.sector_size} and {source.disks[0].sector_size} bytes",
                hint="bring a VG that is on both to disks of one kind first (pvmove, vgreduce); leave out a disk that "
                "shares no VG with the first (lvpack.disk=)",
            )
    into = "' or '".join(disk.path for disk in source.disks[:kept])
    for index, disk in enumerate(source.disks[kept:], kept):
        if others := [p for p in disk.rows if p.content.type != PV_TYPE and p is not disk.extended]:
            raise Refused(
                f"cannot collapse disk '{disk.path}' into '{into}': it has "
                f"{source.partition_name(index, others[0].number)} beside its PV",
                hint="lvpack.collapse=no packs each disk by itself; or bring the VG to one of them (pvmove, vgreduce)",
            )
    for vg in source.vgs:
        if all(pv.disk >= kept for pv in vg.pvs):
            raise Refused(
                f"cannot collapse VG '{vg.name}' into disk '{into}': it has no PV there",
                hint="pack its disk in a run of its own (lvpack.disk=)",
            )


def _homes(vg: VolumeGroup, kept: int) -> dict[str, str]:
    """Return where the extents of PVs on disks after the kept ones go: to the VG's last PV on these."""
    home = max((pv for pv in vg.pvs if pv.disk < kept), key=lambda pv: (pv.disk, pv.partition))
    return {pv.uuid: home.uuid for pv in vg.pvs if pv.disk >= kept}


def _with_metadata(vg: VolumeGroup) -> tuple[PhysicalVolume, ...]:
    """Return the PVs of a packed VG; if those that are gone had all its metadata areas, the first gets one."""
    first, *rest = vg.pvs
    if any(pv.metadata_areas for pv in vg.pvs):
        return vg.pvs
    if first.pe_start < LEAST_METADATA:
        raise Refused(
            f"cannot collapse VG '{vg.name}': the PV that has its extents then has no metadata area, and no room for "
            "one before its first extent",
            hint="bring the VG to a new PV first (pvcreate, vgextend, pvmove, vgreduce)",
        )
    return (replace(first, metadata_areas=1), *rest)


def _placed(disk: Disk, sizes: Mapping[int, int]) -> tuple[Partition, ...]:
    """Return the partitions of the packed disk: PVs have sizes by number, what stands after one that ends moves down.

    What moves keeps its place within a MiB, and at most a MiB of the gap before it, where the boot record of a logical
    partition may be.
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


def _partition_steps(source: Layout, target: Layout, index: int) -> tuple[list[Step], list[Step]]:
    """Return the steps of a disk's partitions that stay as they are, and those of the others."""
    disk, packed, sizes = source.disks[index], target.disks[index], _pv_sizes(target.vgs, index)
    kept: list[Step] = []
    changed: list[Step] = []
    old_end = new_end = 0
    for old, new in sorted(zip(disk.rows, packed.rows, strict=True), key=lambda pair: pair[0].start):
        if old is not disk.extended:
            before, after = old.start - old_end, new.start - new_end
            if before - after >= MIB:
                gap = Step(
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
        step = Step(
            verb=verb,
            object=source.partition_name(index, old.number),
            type=kind,
            before=old.size,
            after=new.size,
            reason=reason,
        )
        (kept if verb == "keep" else changed).append(step)
    return kept, changed


def _pieces(plan: Plan, index: int) -> Iterator[Piece]:
    source, target = plan.source, plan.target
    disk, packed = source.disks[index], target.disks[index]
    pvs = {pv.partition: (vg, pv) for vg in target.vgs for pv in vg.pvs if pv.disk == index}
    at = before = 0
    rows = packed.in_order()
    for row in rows:
        old = next(p for p in disk.rows if p.number == row.number)
        # A boot loader, or the boot record of a logical partition, may be in the gap.
        gap, lead = row.start - at, min(row.start - at, old.start - before)
        yield Piece(size=gap - lead)
        yield Piece(size=lead, disk=index, offset=old.start - lead)
        if row.number in pvs:
            yield from _pv_pieces(plan, *pvs[row.number])
        else:
            yield Piece(size=row.size, disk=index, offset=old.start)
        at, before = row.end, old.end
    if not rows and not pvs:
        yield Piece(size=packed.size, disk=index)
        return
    if not rows:
        yield from _pv_pieces(plan, *pvs[0])
        at = pvs[0][1].size
    tail = packed.size - at
    if packed.table and packed.table.label == "gpt":
        # The source's own backup GPT is there; sfdisk writes the new one over it, in the overlay.
        yield Piece(size=tail, disk=index, offset=disk.size - tail)
    else:
        yield Piece(size=tail)


def _pv_pieces(plan: Plan, vg: VolumeGroup, pv: PhysicalVolume) -> Iterator[Piece]:
    old = {pv.uuid: pv for vg in plan.source.vgs for pv in vg.pvs}
    yield Piece(size=pv.pe_start, disk=pv.disk, offset=plan.source.pv_start(old[pv.uuid]))
    extents = 0
    for move in sorted((m for m in plan.moves if m.home == pv.uuid), key=lambda m: m.target):
        assert move.target == extents, move
        extents += move.count
        giver = old[move.pv]
        offset = plan.source.first_extent(giver) + move.source * vg.extent_size
        yield Piece(size=move.count * vg.extent_size, disk=giver.disk, offset=offset)
    yield Piece(size=pv.size - pv.tail - pv.pe_start - extents * vg.extent_size)
    # The second metadata area is written over the source's own, in the overlay: no extent is there.
    end = plan.source.pv_end(old[pv.uuid])
    yield Piece(size=pv.tail, disk=pv.disk, offset=end - pv.tail)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces, without empty ones, those made one that follow each other on a disk."""
    last: Piece | None = None
    for piece in pieces:
        if not piece.size:
            continue
        if last and last.disk == piece.disk and (last.disk is None or last.offset + last.size == piece.offset):
            last = replace(last, size=last.size + piece.size)
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


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
    if content.minimum is not None:
        wanted = content.minimum + margin.of(content.minimum)
        extents = round_up(min(wanted, lv.extents * extent), extent) // extent
        new = truncated(lv, whole_stripes(lv, min(max(extents, least), lv.extents)))
        size = min(content.size, new.extents * extent // content.block_size * content.block_size)
        if content.rebuilt and size > content.size * (1 - REBUILD_GAIN):
            return lv, "kept whole: " + (
                "it would hardly get smaller" if extents >= least else "the store has no room for making it anew"
            )
        reason = f"{'made anew: ' if content.rebuilt else ''}minimum {human(content.minimum)} + {margin}"
        reason += ", in whole extents" if extents >= least else " takes a larger store than there is room for"
        return replace(new, content=replace(content, size=size)), reason
    if content.type == "swap" and content.block_size:
        new = truncated(lv, whole_stripes(lv, 1))
        small = _small_swap(content, new.extents * extent)
        return replace(new, content=small), "one extent; UUID, label and page size stay"
    return lv, f"kept whole: {_WHOLE.get(content.type, 'neither ext2/3/4, XFS nor swap')}"


def _small_swap(content: Content, size: int) -> Content:
    return replace(content, size=min(content.size, size // content.block_size * content.block_size))


def _compact_steps(
    source: Layout, before: VolumeGroup, after: VolumeGroup, moves: tuple[Move, ...], homes: Homes
) -> Iterator[Step]:
    """Yield the step of each PV: compacted, or, on a disk that is not packed by itself, collapsed."""
    old = {pv.uuid: pv for pv in before.pvs}
    for pv in after.pvs:
        going = [m for m in moves if m.home == pv.uuid and not m.stays]
        yield Step(
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
            yield Step(
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


def _store(plan: Plan) -> int:
    """Return the bytes that resize2fs, e2fsck, mkswap and LVM will write, at most, by the block bitmaps."""
    return STORE_FLOOR + sum(rewritten(old.content, new.content) for old, new in plan.lvs())


def rewritten(old: Content, new: Content) -> int:
    """Return the bytes that resizing an ext filesystem writes, at most, by its block bitmap, or making an XFS anew."""
    if new.size == old.size or not (old.is_ext or old.rebuilt):
        return 0
    if old.rebuilt:
        return old.rebuilt
    if new.size > old.size:
        return int((new.size - old.size) * GROW_OVERHEAD)
    return int(old.used_beyond(new.size) * STORE_OVERHEAD)


def as_text(plan: Plan, costs: str = "") -> str:
    """Return the plan as a table for people, closed by a line about its costs."""
    rows = [("", "what", "holds", "now", "packed", "why")]
    rows += [(s.verb, s.object, s.type, human(s.before), human(s.after), s.reason) for s in plan.steps]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    what = " and ".join(f"{d.path} ({d.model or 'no model'}, {human(d.size)})" for d in plan.source.disks)
    names = " and ".join(vg.name for vg in plan.source.vgs)
    lines = [f"Plan: pack disk {what} with VG {names} into {human(plan.packed_size)}"]
    for verb, name, holds, now, packed, why in rows:
        lines.append(
            f"  {verb:<{widths[0]}}  {name:<{widths[1]}}  {holds:<{widths[2]}}"
            f"  {now:>{widths[3]}}  {packed:>{widths[4]}}  {why}".rstrip()
        )
    for old_vg, new_vg in zip(plan.source.vgs, plan.target.vgs, strict=True):
        where = "of the PV" if len(old_vg.pvs) == 1 else "of the PVs"
        lines.append(f"  Extents {where}, {human(old_vg.extent_size)} each, as they are and as they will be:")
        width = max((len(lv.name) for lv in old_vg.lvs), default=0)
        labels = {pv.uuid: f"{number}:" for number, pv in enumerate(old_vg.pvs)} if len(old_vg.pvs) > 1 else {}
        for old, new in zip(old_vg.lvs, new_vg.lvs, strict=True):
            lines.append(f"    LV {old.name:<{width}}  {_extents(old, labels)} -> {_extents(new, labels)}")
    return "\n".join([*lines, f"  {costs or overlay_costs(plan)}"])


def _extents(lv: LogicalVolume, labels: Mapping[str, str]) -> str:
    return " ".join(
        "|".join(f"{labels.get(area.pv, '')}{area.pe}-{area.pe + s.length - 1}" for area in s.areas)
        for s in lv.segments
    )


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
