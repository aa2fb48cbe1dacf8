"""What a restore makes of its targets: the packed layout, grown as lvpack.grow says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup, by_place
from lvpack_agent.plan.grow_contents import grown_content
from lvpack_agent.plan.grow_disks import Place, grown_disk, grown_pv, limits, places, whole_image
from lvpack_agent.plan.grow_extents import extended
from lvpack_agent.plan.grow_rows import rows_of
from lvpack_agent.plan.grow_rules import by_lv, rule_of, rules_in
from lvpack_agent.plan.grow_sizes import Wanted, wanted
from lvpack_agent.plan.values import Plan, Row
from lvpack_agent.settings.values import MAX, NONE, SHARE, Grow, GrowRule
from lvpack_agent.sizes import human, round_down

NO_MOUNTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """From the packed layout of a set to what its targets become; source is what the set was packed from.

    places has, for each disk, where the bytes of its image go. The VGs of packed and target are in the order of their
    first PVs.
    """

    source: Layout
    packed: Layout
    target: Layout
    places: tuple[tuple[Place, ...], ...]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether nothing grows and each image goes to its disk as it is."""
        tables = [[disk.table for disk in layout.disks] for layout in (self.packed, self.target)]
        return tables[0] == tables[1] and self.packed.vgs == self.target.vgs

    def lvs(self) -> Iterator[tuple[LogicalVolume, LogicalVolume, LogicalVolume]]:
        """Yield each LV as it was on the source, as it is packed, and as it will be."""
        before = {lv.uuid: lv for vg in self.source.vgs for lv in vg.lvs}
        for old, new in zip(self.packed.vgs, self.target.vgs, strict=True):
            for packed, grown in zip(old.lvs, new.lvs, strict=True):
                yield before[packed.uuid], packed, grown


def grown(
    plan: Plan,
    packed: Layout,
    targets: Sequence[Disk],
    grow: Grow,
    memory: int | None,
    mounts: Mapping[str, str] = NO_MOUNTS,
) -> Growth:
    """Return what the packed layout of a set becomes on targets, one for each of its disks and none smaller.

    plan is that of the set. memory is that of the machine in bytes, None if it is not known; mounts has the mount
    points of LVs, and the UUIDs of these. Raises Refused for rules that name nothing, or that there is no room for,
    Failed if the set contradicts itself.
    """
    source = plan.source
    packed = replace(packed, vgs=by_place(packed.vgs))
    rules = by_lv(grow, packed, mounts)
    whys: dict[str, Wanted] = {}
    warnings: list[str] = []
    if grow.policy == NONE:
        disks = [grown_disk(disk, disk, target, {}, False) for disk, target in zip(packed.disks, targets, strict=True)]
        vgs = packed.vgs
    else:
        _check(source, packed)
        before = {vg.uuid: vg for vg in source.vgs}
        disks = [_disk(source, packed, index, target) for index, target in enumerate(targets)]
        vgs, whys, warnings = _vgs(before, packed, disks, grow.policy, rules, memory)
        disks = [_trimmed(disk, index, vgs) for index, disk in enumerate(disks)]
        for index, (disk, new) in enumerate(zip(packed.disks, disks, strict=True)):
            pvs = {pv.partition for vg in vgs for pv in vg.pvs if pv.disk == index}
            warnings += [f"{new.path}: {why}" for why in limits(disk, source.disks[index], new.size, pvs)]
    target = Layout(disks=tuple(disks), vgs=tuple(vgs))
    return Growth(
        source=source,
        packed=packed,
        target=target,
        places=tuple(
            whole_image(old.size) if old.table == new.table else places(old, new)
            for old, new in zip(packed.disks, disks, strict=True)
        ),
        rows=rows_of(source, packed, target, {uuid: want.why for uuid, want in whys.items()}),
        warnings=(*warnings, *_moved_boot_loaders(source, target)),
    )


def _check(source: Layout, packed: Layout) -> None:
    """Raise Failed if what a set says of its layouts cannot be: growing relies on it."""
    for disk in (*source.disks, *packed.disks):
        rows = disk.in_order()
        ends = [0, *(row.end for row in rows)]
        starts = [*(row.start for row in rows), disk.size]
        if any(end > start for end, start in zip(ends, starts, strict=True)):
            raise _contradiction(f"partitions of disk '{disk.path}' overlap or end after it")
    if {vg.uuid for vg in source.vgs} != {vg.uuid for vg in packed.vgs}:
        raise _contradiction("its VGs are not those of the source")
    before = {vg.uuid: vg for vg in source.vgs}
    for vg in packed.vgs:
        old = before[vg.uuid]
        if old.extent_size != vg.extent_size or not {pv.uuid for pv in vg.pvs} <= {pv.uuid for pv in old.pvs}:
            raise _contradiction(f"VG '{vg.name}' has other PVs or extents than on the source")
        if [lv.uuid for lv in old.lvs] != [lv.uuid for lv in vg.lvs]:
            raise _contradiction(f"VG '{vg.name}' has other LVs than on the source")
        for layout, one in ((source, old), (packed, vg)):
            _check_pvs(layout, one)


def _check_pvs(layout: Layout, vg: VolumeGroup) -> None:
    numbers = [n for pv in vg.pvs for n in (pv.pe_start, pv.extents, pv.area_size)]
    counts = [n for lv in vg.lvs for s in lv.segments for n in (s.length, s.count)]
    if (
        vg.extent_size < 1
        or min(numbers, default=0) < 0
        or min(counts, default=1) < 1
        or not all(lv.segments for lv in vg.lvs)
    ):
        raise _contradiction(f"VG '{vg.name}' has sizes that there are not")
    if sum(lv.extents for lv in vg.lvs) > sum(pv.extents for pv in vg.pvs):
        raise _contradiction(f"VG '{vg.name}' has more extents in LVs than on PVs")
    for pv in vg.pvs:
        room = layout.pv_end(pv) - layout.pv_start(pv)
        if pv.pe_start + pv.extents * vg.extent_size > room:
            raise _contradiction(f"the extents of PV {pv.uuid} need more than the {room:,} bytes that it has")


def _contradiction(cause: str) -> Failed:
    return Failed(
        f"cannot trust the image set: {cause}", hint="lvpack.grow=none does without what the set says of its source"
    )


def _disk(source: Layout, packed: Layout, index: int, target: Disk) -> Disk:
    """Return a disk with partitions that have grown, for PVs by what they and PVs that were collapsed have lost."""
    lost: dict[int, int] = {}
    collapsed = False
    for vg in packed.vgs:
        old = {pv.uuid: pv for other in source.vgs if other.uuid == vg.uuid for pv in other.pvs}
        home = max(vg.pvs, key=lambda pv: (pv.disk, pv.partition))
        gone = [pv for pv in old.values() if pv.uuid not in {kept.uuid for kept in vg.pvs}]
        for pv in vg.pvs:
            if pv.disk != index:
                continue
            had = [old[pv.uuid], *(gone if pv is home else ())]
            collapsed = collapsed or len(had) > 1
            lost[pv.partition] = max(0, sum(one.extents for one in had) - pv.extents) * vg.extent_size
    return grown_disk(packed.disks[index], source.disks[index], target, lost, collapsed)


def _vgs(
    before: Mapping[str, VolumeGroup],
    packed: Layout,
    disks: Sequence[Disk],
    policy: str,
    rules: Mapping[str, GrowRule],
    memory: int | None,
) -> tuple[tuple[VolumeGroup, ...], dict[str, Wanted], list[str]]:
    """Return the VGs on disks that have grown, why their LVs have these sizes, and warnings."""
    vgs: list[VolumeGroup] = []
    whys: dict[str, Wanted] = {}
    warnings: list[str] = []
    for vg in packed.vgs:
        old = before[vg.uuid]
        pvs = tuple(grown_pv(pv, old.pv(pv.uuid), vg.extent_size, _room(disks[pv.disk], pv)) for pv in vg.pvs)
        total = sum(pv.extents for pv in pvs)
        wants = wanted(vg, old, total, policy, rules_in(vg, rules), memory)
        new = extended(replace(vg, pvs=pvs), old, {uuid: want.extents for uuid, want in wants.items()})
        lvs = []
        for lv, was, grown_lv in zip(vg.lvs, old.lvs, new.lvs, strict=True):
            if grown_lv.extents < wants[lv.uuid].extents:
                _refuse_ruled(rules.get(lv.uuid), lv, grown_lv, vg.extent_size)
                wants[lv.uuid] = Wanted(
                    extents=grown_lv.extents, why="its stripes have no more room on the PVs that they are on"
                )
                warnings.append(f"LV {lv.name} grows less than it should: {wants[lv.uuid].why}")
            content, warning = grown_content(lv, was, vg.extent_size, grown_lv.extents)
            warnings += [warning] if warning else []
            lvs.append(replace(grown_lv, content=content))
        vgs.append(replace(new, lvs=tuple(lvs)))
        whys |= wants
    return tuple(vgs), whys, warnings


def _refuse_ruled(rule: GrowRule | None, packed: LogicalVolume, grown_lv: LogicalVolume, extent: int) -> None:
    """Raise Refused if a rule gives a striped LV a size that it cannot get."""
    if rule and rule.how not in (MAX, SHARE):
        raise Refused(
            f"cannot use '{rule_of(rule)}': LV '{packed.name}' is striped, and the PVs of its stripes have room for "
            f"{human(grown_lv.extents * extent)} of it",
            hint="give at most that, or larger disks",
        )


def _room(disk: Disk, pv: PhysicalVolume) -> int:
    """Return the bytes of a PV's partition, or of the disk that it is."""
    return disk.table.partition(pv.partition).size if disk.table else round_down(disk.size, disk.sector_size)


def _trimmed(disk: Disk, index: int, vgs: Sequence[VolumeGroup]) -> Disk:
    """Return the disk with partitions that end where their PVs do, as one with a second metadata area must."""
    sizes = {pv.partition: pv.size for vg in vgs for pv in vg.pvs if pv.disk == index}
    if disk.table is None:
        return disk
    rows = tuple(replace(row, size=sizes.get(row.number, row.size)) for row in disk.rows)
    return replace(disk, table=replace(disk.table, partitions=rows))


def _moved_boot_loaders(source: Layout, target: Layout) -> Iterator[str]:
    """Yield warnings of BIOS boot partitions that are not where GRUB was told to find its second part."""
    plan = Plan(source=source, target=target, rows=(), moves=(), store=0)
    for name in plan.moved_boot_loaders():
        yield f"{name}, a BIOS boot partition, is not where it was on the source: GRUB may have to be installed again"
