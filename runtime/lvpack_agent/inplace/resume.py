"""A later boot of an in-place run: what an earlier one decided, and whether it is about this disk."""

from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.backup import journal_read
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.inplace import disk as volumes
from lvpack_agent.inplace import procedure
from lvpack_agent.inplace.procedure import all_steps
from lvpack_agent.inplace.states import same_extents, states
from lvpack_agent.inplace.work import Begun
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.probe import convert
from lvpack_agent.probe.discover import Found
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings


def resumed(entry: Journal, settings: Settings, session: Session) -> Begun:
    """Return what an earlier boot decided. Raises Refused if this version would take other steps to it."""
    record, progress = entry.record, entry.progress
    session.say(
        f"resume: the in-place run of {record.created} (VG {record.vg}, {record.vg_uuid}): "
        f"{progress.done} steps are done{', a merge is under way' if progress.merge else ''}; "
        "its plan holds, and nothing is planned again"
    )
    if procedure.form(all_steps(record.plan, record.unclean)) != record.steps:
        raise Refused(
            f"cannot go on with the in-place run in '{entry.folder.name}': lvpack {record.lvpack} began it, its steps "
            f"are not those of this version, {VERSION}",
            hint="boot the live image of that version to finish it",
        )
    if settings.name not in ("", record.name):
        session.warn(f"the image set's name is {record.name}, as this run began; lvpack.name is not used")
    return Begun(name=record.name, plan=record.plan, layout=entry.folder / "layout", journal=entry)


def is_of_this_run(entry: Journal, found: Found, settings: Settings, share: Path) -> bool:
    """Return whether a finished run is what the command line asks for, and its disk was not used since."""
    record = entry.record
    if settings.name not in ("", record.name) or (settings.dump and not (share / record.name).exists()):
        return False
    shrunk = len(procedure.shrinking(record.plan, record.unclean))
    final = record.plan.source if entry.progress.done > shrunk else record.plan.target
    now = extents(found)
    return bool(
        now and same_extents(now, final.vgs[0]) and entry.progress.heads == volumes.heads(found.disk.path, final)
    )


def extents(found: Found) -> VolumeGroup | None:
    """Return the VG on the found disk, without what its LVs hold; None if it is none that lvpack packs."""
    [vg] = found.vgs
    try:
        return convert.volume_group(vg, {pv.device: (0, number) for number, pv in enumerate(vg.pvs, 1)}, {})
    except (Failed, KeyError):  # a pvmove is under way
        return None


def refuse_renamed(other: Path, own: str, found: Found) -> None:
    """Raise Refused if a run that is not finished has left a disk just so: then it may be this one, under another name.

    A disk can have another serial number on another controller or hypervisor.
    """
    try:
        record, progress = journal_read.read(other) or (None, None)
    except LvpackError:
        return
    now = extents(found)
    if not record or not progress or not now:
        return
    if is_as_left(now, record, progress.done):
        raise Refused(
            f"cannot begin an in-place run: the one in '{other.name}' on the share is not finished, and this disk is "
            "as that left its own",
            hint=f"if it is the same disk, with another name than then ({record.disk}), rename that folder to '{own}' "
            "and boot again; if it is not, move the folder away",
        )


def is_as_left(vg: VolumeGroup, record: Record, done: int) -> bool:
    """Return whether a VG is as a run left its own after so many steps, and not as that was before them."""
    found = states(record.plan.source.vgs[0], all_steps(record.plan, record.unclean))
    left = any(same_extents(vg, state) for state in found[done : done + 2])
    return left and not same_extents(vg, found[0])
