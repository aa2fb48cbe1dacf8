"""What in-place mode refuses to pack, and on the way to work on."""

from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.filesystems import ext, swap
from lvpack_agent.filesystems import resize as shrink
from lvpack_agent.inplace import disk as volumes
from lvpack_agent.inplace.steps import ReduceLv, ResizeFilesystem, Step
from lvpack_agent.layout.content import SUSPEND_TYPES
from lvpack_agent.lvm import pvlabel
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.open import Opened
from lvpack_agent.session import Session


def refuse_overlay_only(planned: Plan) -> None:
    """Raise Refused for what only overlay mode does: partitions that move."""
    old, new = planned.source.disks[0], planned.target.disks[0]
    for before, after in zip(old.rows, new.rows, strict=True):
        if before.start != after.start and before is not old.extended:
            raise Refused(
                f"cannot pack disk '{old.path}' in place: partition {before.number} stands after the PV and would have "
                "to move",
                hint="use lvpack.mode=overlay, which moves it in the image only",
            )


def refuse_metadata(source: Opened) -> None:
    """Raise Refused unless every metadata area of the PV is whole, in use, and has the same text."""
    [vg], [device] = source.layout.vgs, source.pvs
    try:
        pvlabel.check(device)
    except Failed as why:
        raise Refused(
            f"cannot pack VG '{vg.name}' in place: {why.message}", hint=why.hint or "use lvpack.mode=overlay"
        ) from why


def refuse_damage(source: Opened, todo: tuple[Step, ...], session: Session) -> None:
    """Raise Refused if e2fsck finds more in a filesystem than what it repairs without a question (e2fsck(8), -p)."""
    damage = list(source.findings)
    resized = {step.name for step in todo if isinstance(step, ResizeFilesystem)}
    for name, device in source.ext_devices():
        if name in resized:
            damage += filter(None, [shrink.check_filesystem(device, name, session.say, lambda: None)])
        else:
            session.say(f"check {name} (read-only)")
            try:
                ext.check(device)  # nothing will repair it, and the packed disk must pass
            except Failed as failed:
                damage.append(f"{name}: {failed.message}")
    if damage:
        raise Refused(
            f"cannot shrink this disk in place: {'; '.join(damage)}",
            hint="repair it with e2fsck -f first, or use lvpack.mode=overlay, which repairs only the image",
        )


def refuse_suspended(name: str, device: str) -> None:
    if (kind := blkid.identify(device).get("TYPE", "")) in SUSPEND_TYPES:
        raise Refused(
            f"cannot go on: {name} is '{kind}', the memory of a hibernated system",
            hint="start the server and shut it down in full",
        )


def check_fits(device: str, step: ReduceLv) -> None:
    """Raise Disagreement unless an LV holds what was planned and nothing of it is cut off.

    The journal says that it was resized; but the server may have been started since, or the disk rolled back.
    """
    uuid, size = blkid.identify(device).get("UUID", ""), 0
    if step.content.is_ext and uuid == step.content.uuid:
        block = ext.read(device)
        size = block.block_count * block.block_size
    elif step.content.type == "swap" and (header := swap.read(device)):
        size = header.size
    if uuid != step.content.uuid or size != step.content.size:
        raise volumes.disagree(
            f"{step.name} holds {uuid or 'nothing'} of {size:,} bytes, not {step.content.uuid} of {step.content.size:,}"
        )
