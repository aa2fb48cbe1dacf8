"""Which disks a restore writes, and which it refuses."""

from collections.abc import Callable, Sequence

from lvpack_agent.devices import lsblk
from lvpack_agent.devices.emptiness import what_holds
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.layout.disks import Disk
from lvpack_agent.machine import dmi
from lvpack_agent.restore import mark
from lvpack_agent.sizes import human


def without_share(all_disks: tuple[BlockDevice, ...], device: str) -> tuple[BlockDevice, ...]:
    """Return the disks but the one that has the share, on a device of this machine; "": none has it.

    That lvpack.disk= names that disk was refused before it was mounted (shares.file).
    """
    shares = lsblk.holding(all_disks, device) if device else ()
    return tuple(disk for disk in all_disks if disk not in shares)


def choose_targets(
    all_disks: tuple[BlockDevice, ...],
    manifest: Manifest,
    *,
    named: tuple[str, ...],
    overwrite: bool,
    say: Callable[[str], object],
) -> tuple[BlockDevice, ...]:
    """Return the disks to write, one for each disk of the set, in its order.

    named is the value of lvpack.disk; if it names none, say which disk is chosen and why. overwrite: disks need not be
    empty. Raises Refused if it is not clear which disks are meant, or one of them is too small or not empty.
    """
    wanted = manifest.packed.disks
    candidates = lsblk.select(all_disks, named)
    known = "; ".join(d.describe() for d in candidates) or "there is none"
    if len(wanted) > 1 and (named == lsblk.AUTO or len(candidates) != len(wanted)):
        needs = "; ".join(f"{d.model or d.path}: {d.size:,} bytes" for d in wanted)
        raise Refused(
            f"cannot choose the target disks: the set has {len(wanted)} ({needs})",
            hint=f"name as many different disks in that order, each with lvpack.disk=: {known}",
        )
    if named == lsblk.AUTO:
        candidates = _chosen(candidates, manifest, say)
    if len(candidates) != len(wanted):
        raise Refused(
            f"cannot choose the target disk: there are {len(candidates)}", hint=f"name one with lvpack.disk=: {known}"
        )
    for target, packed in zip(candidates, wanted, strict=True):
        _refuse_unfit(target, packed, manifest, overwrite, say)
    return candidates


def _chosen(
    found: tuple[BlockDevice, ...], manifest: Manifest, say: Callable[[str], object]
) -> tuple[BlockDevice, ...]:
    """Return the disk that lvpack.disk=auto means: the only one, or the one that the set came from; if none, all."""
    machine = dmi.machine().get("product_uuid")
    same_machine = machine is not None and machine == manifest.machine.get("product_uuid")
    origins = {d: why for d in found if (why := _origin(d, manifest.plan.source.disks, same_machine))}
    # The disks of a collapsed set: one that is still there may hold the other half of what the set has.
    collapsed = len(manifest.plan.source.disks) > len(manifest.packed.disks)
    if len(found) > 1 and (len(origins) != 1 or collapsed):
        return found
    for disk in origins or found:
        only = "the only disk that there is" if len(found) == 1 else ""
        origin = f"the one that the set came from, by its {origins[disk]}" if origins else ""
        say(f"lvpack.disk=auto is {disk.path}: {' and '.join(filter(None, [only, origin]))}")
    return tuple(origins) or found


def _origin(disk: BlockDevice, sources: Sequence[Disk], same_machine: bool) -> str:
    """Return what shows that the set came from this disk, "" if nothing does.

    No two disks have one WWN; but a serial number may be "drive-scsi0" in every virtual machine.
    """
    for source in sources:
        if disk.wwn and source.wwn:
            if disk.wwn == source.wwn:
                return f"WWN {disk.wwn}"
        elif same_machine and disk.serial and (disk.serial, disk.model) == (source.serial, source.model):
            return f"serial {disk.serial}"
    return ""


def _refuse_unfit(
    target: BlockDevice, packed: Disk, manifest: Manifest, overwrite: bool, say: Callable[[str], object]
) -> None:
    if target.size < packed.size:
        raise Refused(
            f"cannot restore to '{target.path}': it has {target.size:,} bytes, the image needs {packed.size:,}",
            hint=f"use a disk of at least {human(packed.size)}",
        )
    if target.sector_size != packed.sector_size:
        raise Refused(
            f"cannot restore to '{target.path}': its sectors are {target.sector_size} bytes, the source's were "
            f"{packed.sector_size}",
            hint="partition tables and filesystems depend on it: use a disk with the same sector size",
        )
    if target.read_only:
        raise Refused(f"cannot restore to '{target.path}': it is read-only", hint="remove its write protection")
    if overwrite:
        return
    if held := what_is_in_the_way(target, manifest, say):
        raise Refused(
            f"cannot restore to '{target.path}': it is not empty, it holds {held}",
            hint="lvpack.overwrite=yes writes over it; everything on it is lost then",
        )


def what_is_in_the_way(target: BlockDevice, manifest: Manifest, say: Callable[[str], object]) -> str:
    """Return what a disk holds, in words; "" if it is empty, or, and that is said, what such a restore has left."""
    held = what_holds(target)
    if held and mark.is_left_by(target, manifest):
        say(f"{target.path} is what an earlier restore of this image set has left unfinished: it is written again")
        return ""
    return held
