"""Which disks make up the server: found by following the VG, not guessed from names."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Absent, Refused
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe import supported
from lvpack_agent.sizes import KIB

EXTENDED_SIZE = KIB
# What blkid(8) names those that have another block device in them.
_WRAPPERS = {
    "linux_raid_member": "a member of an md array",
    "crypto_LUKS": "encrypted by LUKS",
    "mpath_member": "a path of a multipath device",
    "bcache": "a part of a bcache",
    "drbd": "a part of a DRBD device",
    "ddf_raid_member": "a member of a firmware RAID",
    "isw_raid_member": "a member of a firmware RAID",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The disks to pack, those of the wanted VG first, and all VGs on them, the wanted one first.

    kept is a number of disks: the first ones get an image each, the rest are collapsed into those. others are the disks
    that are left out.
    """

    disks: tuple[BlockDevice, ...]
    kept: int
    vgs: tuple[vgreport.Vg, ...]
    others: tuple[BlockDevice, ...] = ()

    @property
    def disk(self) -> BlockDevice:
        """The first disk, that of the wanted VG."""
        return self.disks[0]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all disks to pack."""
        return tuple(disk.path for disk in self.disks)

    @property
    def vg(self) -> str:
        """The name of the wanted VG."""
        return self.vgs[0].name

    @property
    def vg_uuid(self) -> str:
        """The UUID of the wanted VG."""
        return self.vgs[0].uuid


def find(
    disks: tuple[BlockDevice, ...],
    wanted: str,
    report: Callable[[tuple[str, ...]], tuple[vgreport.Vg, ...]] = vgreport.read,
    *,
    collapse: bool = True,
    named: bool = False,
) -> Found:
    """Return the disks of the wanted VG, and of all VGs that share a disk with it, or with one of those.

    wanted is the name of a VG, or auto: the only VG, or all VGs if they share disks. named: lvpack.disk names disks, so
    that all of them are packed, also without a VG or with one that shares no disk with the wanted one; auto is then the
    VG of the first disk. report returns the VGs on devices. With collapse the disks of a VG become one, and only one of
    them may have partitions beside its PVs. Raises Refused if others have, or more than one VG could be meant, and
    Absent if there is no VG that could be, or a PV is missing.
    """
    holders = {part.path: disk for disk in disks for part in (disk, *disk.parts) if part.fstype == PV_TYPE}
    _refuse_clones(disks)
    vgs = [vg for vg in report(tuple(holders)) if vg.name]
    if not vgs:
        seen = ", ".join(f"{p.path}: {p.fstype or 'nothing'}" for d in disks for p in (d, *d.parts)) or "no disk"
        raise Absent(
            "cannot find an LVM server: no VG on "
            + (", ".join(d.path for d in disks) or "this machine")
            + _inside(disks),
            hint=f"this is what the disks hold: {seen}",
        )
    if named:
        vgs.sort(key=lambda vg: min((disks.index(d) for d in _with_pvs([vg], holders)), default=len(disks)))
    described = "; ".join(f"{vg.name} ({vg.uuid}) on {', '.join(pv.device for pv in vg.pvs)}" for vg in vgs)
    chosen = [vg for vg in vgs if wanted in ("auto", vg.name)]
    if not chosen:
        raise Absent(f"cannot find VG '{wanted}': there is none of that name", hint=f"the VGs are {described}")
    packed = [*chosen, *(vg for vg in vgs if vg not in chosen)] if named else chosen
    names = [vg.name for vg in packed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Refused(
            f"cannot choose VG '{twice[0]}': there are two of that name: {described}",
            hint="choose the disk with lvpack.disk=, or detach the disk that is not meant",
        )
    for vg in packed:
        if vg.clustered:
            supported.refuse_unsupported(vg)
        if any(pv.missing or pv.device not in holders for pv in vg.pvs):
            raise Absent(
                f"cannot pack VG '{vg.name}': a PV of it is missing",
                hint="attach its disk (lvpack.disk= must name it too), or run vgreduce --removemissing",
            )
    groups = _groups(packed, vgs, holders)
    if len(groups) > 1 and not named:
        raise Refused(
            f"cannot choose a VG: there are {len(chosen)}: {described}",
            hint="choose one with lvpack.vg=NAME, or name all disks with lvpack.disk= to pack them together",
        )
    kept: list[BlockDevice] = []
    collapsed: list[BlockDevice] = []
    for group in groups:
        first, *rest = _main_first(_with_pvs(group, holders), group[0].name, collapse=collapse)
        kept.append(first)
        (collapsed if collapse else kept).extend(rest)
    if named:
        further = [disk for disk in disks if disk not in (*kept, *collapsed)]
        _refuse_ambiguous(further)
        kept += further
    return Found(disks=(*kept, *collapsed), kept=len(kept), vgs=tuple(vg for group in groups for vg in group))


def _with_pvs(vgs: Iterable[vgreport.Vg], holders: Mapping[str, BlockDevice]) -> tuple[BlockDevice, ...]:
    """Return the disks of VGs, in the order of their PVs."""
    return tuple(dict.fromkeys(holders[pv.device] for vg in vgs for pv in vg.pvs if pv.device in holders))


def _groups(
    wanted: Iterable[vgreport.Vg], vgs: Iterable[vgreport.Vg], holders: Mapping[str, BlockDevice]
) -> list[tuple[vgreport.Vg, ...]]:
    """Return the wanted VGs in groups: with each are all VGs that share a disk with it, or with one of the group."""
    groups: list[tuple[vgreport.Vg, ...]] = []
    for vg in wanted:
        if any(vg in group for group in groups):
            continue
        found = [vg]
        for known in found:  # it grows meanwhile
            disks = _with_pvs([known], holders)
            found += [v for v in vgs if v not in found and any(d in disks for d in _with_pvs([v], holders))]
        groups.append(tuple(found))
    return groups


def _main_first(disks: tuple[BlockDevice, ...], vg: str, *, collapse: bool) -> tuple[BlockDevice, ...]:
    """Return the disks of a VG, first those that have partitions beside PVs, to boot from."""
    # The kernel shows an extended partition as one of two sectors at most.
    booting = [d for d in disks if any(p.fstype != PV_TYPE and p.size > EXTENDED_SIZE for p in d.parts)]
    if collapse and len(booting) > 1:
        raise Refused(
            f"cannot collapse VG '{vg}' into one disk: {' and '.join(d.path for d in booting)} have partitions beside "
            "their PVs",
            hint="lvpack.collapse=no packs each disk by itself; or bring the VG to one of them (pvmove, vgreduce)",
        )
    return tuple(sorted(disks, key=lambda d: d not in booting))


def _refuse_ambiguous(disks: Iterable[BlockDevice]) -> None:
    """Raise Refused for a disk whose end may mean something: what is past the last partition is not packed."""
    for disk in disks:
        if disk.fstype and disk.parts:
            what = _WRAPPERS.get(disk.fstype, f"{disk.fstype} as a whole")
            raise Refused(
                f"cannot pack disk '{disk.path}': it is {what}, and has partitions",
                hint="leave it out (lvpack.disk=), or remove the signature that means nothing (wipefs)",
            )


def _inside(disks: tuple[BlockDevice, ...]) -> str:
    """Return, for people, in what a PV may be hidden."""
    parts = (part for disk in disks for part in (disk, *disk.parts))
    found = [f"{part.path} is {_WRAPPERS[part.fstype]}" for part in parts if part.fstype in _WRAPPERS]
    return f"; {', '.join(found)}, which lvpack does not open" if found else ""


def _refuse_clones(disks: tuple[BlockDevice, ...]) -> None:
    seen: dict[str, tuple[BlockDevice, BlockDevice]] = {}
    for disk in disks:
        for part in (disk, *disk.parts):
            if part.fstype != PV_TYPE or not part.uuid:
                continue
            first, twin = seen.setdefault(part.uuid, (disk, part))
            if twin is part:
                continue
            if (first.wwn or first.serial) and (first.wwn, first.serial) == (disk.wwn, disk.serial):
                raise Refused(
                    f"cannot tell which disk is meant: {twin.path} and {part.path} are two paths to one disk "
                    f"({disk.wwn or disk.serial})",
                    hint=f"choose one with lvpack.disk={first.path}; lvpack uses no multipath",
                )
            raise Refused(
                f"cannot tell which disk is meant: {twin.path} and {part.path} hold one and the same PV",
                hint="one is a copy of the other: detach it, or choose with lvpack.disk=",
            )
