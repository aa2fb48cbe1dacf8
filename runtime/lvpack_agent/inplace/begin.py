"""The first boot of an in-place run: survey, plan, refuse, and have the journal on the share."""

from dataclasses import replace
from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.backup import journal, journal_read, journal_record
from lvpack_agent.backup import tables as rescue
from lvpack_agent.backup.claim import Claim
from lvpack_agent.backup.dump import set_name
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.backup.survey import surveyed
from lvpack_agent.errors import LvpackError, Refused
from lvpack_agent.image import files, write
from lvpack_agent.inplace import procedure
from lvpack_agent.inplace.procedure import all_steps
from lvpack_agent.inplace.refuse import refuse_damage, refuse_metadata, refuse_overlay_only
from lvpack_agent.inplace.steps import ResizeFilesystem
from lvpack_agent.inplace.work import Begun
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.plan import sizes, text
from lvpack_agent.probe.discover import Found
from lvpack_agent.sizes import MIB, human
from lvpack_agent.snapshots import overlay, stores
from lvpack_agent.snapshots.device_store import DeviceStore
from lvpack_agent.snapshots.file_store import FileStore
from lvpack_agent.undo import Undo


def begin(job: Job, store: FileStore | DeviceStore, found: Found, folder: Path, claim: Claim) -> Begun:
    """Probe, plan, and have all that a later boot needs on the share. Nothing is written to the disk."""
    settings, session, scratch = job.settings, job.session, job.folder
    overlaid = overlay.overlay(found.paths, lambda undo: stores.in_memory(scratch / "store", undo))
    with overlaid as over, Undo() as source_undo:
        with session.phase("plan"):
            survey = source_undo.enter_context(surveyed(found, over.devices, settings, session))
            planned, source = survey.plan, survey.source
            shown = text.as_text(planned, text.inplace_costs(planned))
            session.say(shown)
        name = set_name(settings.name, survey.host)
        if settings.dump:
            for taken in (name, name + files.PARTIAL):
                write.refuse_taken(job.share, taken)
        refuse_overlay_only(planned)
        refuse_metadata(source)
        todo = procedure.shrinking(planned, source.unclean)
        rescue.write(scratch, source, {found.vg: lvm.metadata_text(found.vg, source.pvs, scratch)}, shown)
        with session.phase("check"):
            refuse_damage(source, todo, session)
    begun = Begun(name=name, plan=planned, layout=scratch / "layout", journal=None)
    if not todo:
        session.say("the disk is as the plan wants it: nothing is written to it")
        return begun
    if not found.vgs[0].pvs[0].allocatable:
        raise Refused(
            f"cannot shrink in place: the PV of VG '{found.vg}' is not allocatable, so LVM moves nothing on it",
            hint="make it so with pvchange --allocatable y",
        )
    with session.phase("journal"):
        needed = sizes.STORE_FLOOR + max(
            (sizes.rewritten(s.old, s.new) for s in todo if isinstance(s, ResizeFilesystem)), default=0
        )
        if needed > store.room():
            raise Refused(
                f"cannot shrink in place: the store for the largest filesystem needs about {human(needed)}, "
                f"{store.place} has room for {human(store.room())}",
                hint="make room on the share, name an empty disk with lvpack.scratch=/dev/…, or shrink less with a "
                "larger lvpack.margin",
            )
        record = Record(
            schema=journal_record.SCHEMA,
            lvpack=VERSION,
            created=journal.now(),
            name=name,
            vg=found.vg,
            vg_uuid=found.vg_uuid,
            disk=journal_read.identity(found.disk),
            plan=planned,
            unclean=source.unclean,
            steps=procedure.form(all_steps(planned, source.unclean)),
        )
        entry = journal.begin(folder, claim, record, begun.layout)
        session.say(f"journal: {entry.folder.name} on the share; do not start the server before this run is finished")
        try:
            with Undo() as trial:  # that a store can be had is known before the first write
                store.fresh(MIB, trial)
            store.drop()
        except LvpackError:
            entry.discard()
            raise
    return replace(begun, journal=entry)
