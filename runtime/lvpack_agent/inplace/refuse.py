"""What in-place mode refuses: before a run begins, and between its steps."""

from collections.abc import Callable, Iterable

from lvpack_agent.backup import room
from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.filesystems import ext, swap
from lvpack_agent.filesystems.resize import check_filesystem
from lvpack_agent.inplace.disk import disagree
from lvpack_agent.inplace.steps import ReduceLv, ResizeFilesystem, Step
from lvpack_agent.layout.content import SUSPEND_TYPES
from lvpack_agent.lvm import pvlabel
from lvpack_agent.plan import sizes
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.discover import Found
from lvpack_agent.probe.open import Opened
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.share import Share
from lvpack_agent.sizes import human
from lvpack_agent.snapshots.keeper import Keeper


def overlay_only(planned: Plan) -> None:
    """Raise Refused if a partition would have to move, which only overlay mode does."""
    old, new = planned.source.disks[0], planned.target.disks[0]
    for before, after in zip(old.rows, new.rows, strict=True):
        if before.start != after.start and before is not old.extended:
            raise Refused(
                f"cannot pack disk '{old.path}' in place: partition {before.number} stands after the PV and would have "
                "to move",
                hint="use lvpack.mode=overlay, which moves it in the image only",
            )


def metadata(source: Opened) -> None:
    """Raise Refused unless all metadata areas of the PV are whole, in use, and have the same text."""
    [vg], [device] = source.layout.vgs, source.pvs
    try:
        pvlabel.check(device)
    except Failed as why:
        raise Refused(
            f"cannot pack VG '{vg.name}' in place: {why.message}", hint=why.hint or "use lvpack.mode=overlay"
        ) from why


def damage(source: Opened, todo: Iterable[Step], say: Callable[[str], None]) -> None:
    """Raise Refused if a filesystem of the source is damaged, ext.Unread if its disk does not give all of it.

    Those that todo resizes may have what e2fsck repairs without a question (e2fsck(8), -p); nothing will repair the
    others, and the packed disk must pass a check.
    """
    found = list(source.findings)
    resized = {step.name for step in todo if isinstance(step, ResizeFilesystem)}
    for name, device in source.ext_devices():
        if name in resized:
            found += filter(None, [check_filesystem(device, name, say, lambda: None).damage])
        else:
            say(f"check {name} (read-only)")
            try:
                ext.check(device)
            except ext.Unread:
                raise  # what is said of damage is wrong here: nobody shall repair that on the disk
            except Failed as failed:
                found.append(f"{name}: {failed.message}")
    if found:
        raise Refused(
            f"cannot shrink this disk in place: {'; '.join(found)}",
            hint="repair it with e2fsck -f first, or use lvpack.mode=overlay, which repairs only the image",
        )


def fixed_pv(found: Found) -> None:
    """Raise Refused if LVM may not allocate on the PV: then pvmove moves nothing on it."""
    if not found.vgs[0].pvs[0].allocatable:
        raise Refused(
            f"cannot shrink in place: the PV of VG '{found.vg}' is not allocatable, so LVM moves nothing on it",
            hint="make it so with pvchange --allocatable y",
        )


def too_little_room(todo: Iterable[Step], keeper: Keeper) -> None:
    """Raise Refused if the snapshot of the filesystem that needs most would not fit where the stores are."""
    needed = sizes.STORE_FLOOR + max(
        (sizes.rewritten(s.old, s.new) for s in todo if isinstance(s, ResizeFilesystem)), default=0
    )
    if needed > keeper.room():
        raise Refused(
            f"cannot shrink in place: the store for the largest filesystem needs about {human(needed)}, "
            f"{keeper.place} has room for {human(keeper.room())}",
            hint="make room on the share, name an empty disk with lvpack.scratch=/dev/…, or shrink less with a "
            "larger lvpack.margin",
        )


def no_room(share: Share, planned: Plan, compress: Compression, warn: Callable[[str], None]) -> None:
    """Raise Refused, or warn, if an image whose size is known before the disk is packed does not fit on its share.

    What is compressed is known only when what is packed was mapped; the dump asks then.
    """
    size = planned.packed_size
    if compress.method == "none" and (doubt := room.doubt(share, size, size, is_exact=True)):
        warn(doubt)


def suspended(name: str, device: str) -> None:
    """Raise Refused if a swap area holds the memory of a hibernated system; name is for the message."""
    if (kind := blkid.identify(device).get("TYPE", "")) in SUSPEND_TYPES:
        raise Refused(
            f"cannot go on: {name} is '{kind}', the memory of a hibernated system",
            hint="start the server and shut it down in full",
        )


def cut_content(device: str, step: ReduceLv) -> None:
    """Raise Disagreement unless an LV holds just what was planned, so that reducing it cuts nothing off.

    The journal says that its content was made smaller; but the server may have been started since, or the disk rolled
    back.
    """
    uuid, size = blkid.identify(device).get("UUID", ""), 0
    if step.content.is_ext and uuid == step.content.uuid:
        block = ext.read(device)
        size = block.block_count * block.block_size
    elif step.content.type == "swap" and (header := swap.read(device)):
        size = header.size
    if uuid != step.content.uuid or size != step.content.size:
        raise disagree(
            f"{step.name} holds {uuid or 'nothing'} of {size:,} bytes, not {step.content.uuid} of {step.content.size:,}"
        )
