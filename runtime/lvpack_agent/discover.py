"""Which disk makes up the server: found by following the VG, not guessed from names."""

from collections.abc import Callable
from dataclasses import dataclass

from lvpack_agent import lvm
from lvpack_agent.disks import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.layout import PV_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The disk to pack, the VG on it (name, UUID, tags), whether LVM may put new extents on its PV."""

    disk: BlockDevice
    vg: str
    vg_uuid: str
    tags: tuple[str, ...]
    allocatable: bool


def find(
    disks: tuple[BlockDevice, ...],
    wanted: str,
    report: Callable[[tuple[str, ...]], tuple[lvm.Vg, ...]] = lvm.report,
) -> Found:
    """Return the disk of the wanted VG ("auto": of the only one).

    Raises Refused if there is none, more than one that could be meant, or one that this version cannot pack.
    """
    holders = {part.path: disk for disk in disks for part in (disk, *disk.parts) if part.fstype == PV_TYPE}
    _refuse_clones(disks)
    vgs = [vg for vg in report(tuple(holders)) if vg.name]
    if not vgs:
        seen = ", ".join(f"{p.path}: {p.fstype or 'nothing'}" for d in disks for p in (d, *d.parts)) or "no disk"
        raise Refused(
            "cannot find an LVM server: no VG on " + (", ".join(d.path for d in disks) or "this machine"),
            hint=f"this is what the disks hold: {seen}",
        )
    described = "; ".join(f"{vg.name} ({vg.uuid}) on {', '.join(pv.device for pv in vg.pvs)}" for vg in vgs)
    chosen = [vg for vg in vgs if wanted in ("auto", vg.name)]
    if not chosen:
        raise Refused(f"cannot find VG '{wanted}': there is none of that name", hint=f"the VGs are {described}")
    if len({vg.name for vg in chosen}) < len(chosen):
        raise Refused(
            f"cannot choose VG '{chosen[0].name}': there are two of that name: {described}",
            hint="choose the disk with lvpack.disk=, or detach the disk that is not meant",
        )
    if len(chosen) > 1:
        raise Refused(
            f"cannot choose a VG: there are {len(chosen)}: {described}", hint="choose one with lvpack.vg=NAME"
        )
    [vg] = chosen
    if any(pv.missing or pv.device not in holders for pv in vg.pvs):
        raise Refused(
            f"cannot pack VG '{vg.name}': a PV of it is missing",
            hint="attach its disk, or run vgreduce --removemissing",
        )
    on = {holders[pv.device].path: holders[pv.device] for pv in vg.pvs}
    if len(on) > 1 or len(vg.pvs) > 1:
        raise Refused(
            f"cannot pack VG '{vg.name}': it has {len(vg.pvs)} PVs ({', '.join(pv.device for pv in vg.pvs)})",
            hint="this version packs a VG with one PV; collect it on one with pvmove and vgreduce",
        )
    [disk] = on.values()
    others = [v.name for v in vgs if v is not vg and any(holders[pv.device] is disk for pv in v.pvs if not pv.missing)]
    if others:
        raise Refused(
            f"cannot pack disk '{disk.path}': beside VG '{vg.name}' it holds VG '{others[0]}'",
            hint="this version packs a disk with one VG",
        )
    if holders[vg.pvs[0].device].path == vg.pvs[0].device:
        raise Refused(
            f"cannot pack disk '{disk.path}': the PV is the whole disk, without a partition table",
            hint="this version packs a PV that is in a partition",
        )
    return Found(
        disk=disk,
        vg=vg.name,
        vg_uuid=vg.uuid,
        tags=vg.tags,
        allocatable=vg.pvs[0].allocatable,
    )


def _refuse_clones(disks: tuple[BlockDevice, ...]) -> None:
    seen: dict[str, str] = {}
    for device in (part for disk in disks for part in (disk, *disk.parts) if part.fstype == PV_TYPE and part.uuid):
        if device.uuid in seen:
            raise Refused(
                f"cannot tell which disk is meant: {seen[device.uuid]} and {device.path} hold one and the same PV",
                hint="one is a copy of the other: detach it, or choose with lvpack.disk=",
            )
        seen[device.uuid] = device.path
