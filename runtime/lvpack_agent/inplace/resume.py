"""A later boot of an in-place run: what an earlier one decided, and whether a journal is about this disk."""

from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.backup import journal_read
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.errors import Failed, Refused, understood
from lvpack_agent.inplace.disk import heads
from lvpack_agent.inplace.procedure import Procedure, form, make_procedure
from lvpack_agent.inplace.states import same_extents
from lvpack_agent.inplace.work import Begun
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.probe import convert
from lvpack_agent.probe.discover import Found
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings


def procedure_of(record: Record) -> Procedure:
    """Return the steps of the plan in a journal. Raises Failed if that is no plan."""
    with understood(f"the plan of the in-place run of {record.created} in its journal", hint=journal_read.PUT_BACK):
        return make_procedure(record.plan, record.unclean)


def resumed(entry: Journal, settings: Settings, session: Session) -> Begun:
    """Return what the first boot decided; nothing is planned again.

    Raises Refused if this version of lvpack would take other steps for the same plan.
    """
    record, progress = entry.record, entry.progress
    session.say(
        f"resume: the in-place run of {record.created} (VG {record.vg}, {record.vg_uuid}): "
        f"{progress.done} steps are done{', a merge is under way' if progress.merge else ''}; "
        "its plan holds, and nothing is planned again"
    )
    if form(procedure_of(record).steps) != record.steps:
        raise Refused(
            f"cannot go on with the in-place run in '{entry.folder.name}': lvpack {record.lvpack} began it, its steps "
            f"are not those of this version, {VERSION}",
            hint="boot the live image of that version to finish it",
        )
    if settings.name not in ("", record.name):
        session.warn(f"the image set's name is {record.name}, as this run began; lvpack.name is not used")
    return Begun(name=record.name, plan=record.plan, layout=entry.folder / "layout", journal=entry)


def is_of_this_run(entry: Journal, found: Found, settings: Settings, share: Path) -> bool:
    """Return whether a finished run is the one that is asked for, and its disk is as that run left it.

    Then this boot has nothing to do: the power went when the run had ended and the machine had not been told so.
    """
    record = entry.record
    if settings.name not in ("", record.name) or (settings.dump and not (share / record.name).exists()):
        return False
    packed_after = procedure_of(record).packed_after
    final = record.plan.source if entry.progress.done > packed_after else record.plan.target
    now = _extents(found)
    return bool(now and same_extents(now, final.vgs[0]) and entry.progress.heads == heads(found.disk.path, final))


def _extents(found: Found) -> VolumeGroup | None:
    """Return the VG on the disk that was found, without what its LVs hold; None while a pvmove is under way."""
    [vg] = found.vgs
    try:
        return convert.volume_group(vg, {pv.device: (0, number) for number, pv in enumerate(vg.pvs, 1)}, {})
    except (Failed, KeyError):  # the temporary LV of a pvmove
        return None


def refuse_renamed(other: Path, own: str, found: Found) -> None:
    """Raise Refused if the disk is as another, unfinished run left its own.

    Then it may be that run's disk under another name: a disk can have another serial number on another controller or
    hypervisor. other is the journal folder of that run, own the name of the folder that this disk would get.
    """
    try:
        record, progress = journal_read.read(other) or (None, None)
    except (Failed, Refused):
        return
    now = _extents(found)
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
    """Return whether a VG is as a run would leave it after done steps, or one more.

    A VG as it was before the first step does not count: so is that of every clone.
    """
    states = procedure_of(record).states
    left = any(same_extents(vg, state) for state in states[done : done + 2])
    return left and not same_extents(vg, states[0])
