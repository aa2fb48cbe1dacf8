"""The first boot of an in-place run: survey, plan, refuse what cannot be done, and have the journal on the share.

Needs a machine: it is tested in guests (qemu-tests/tests/test_inplace.py).
"""

import secrets
from dataclasses import replace
from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.backup import journal, journal_read, journal_record, tables
from lvpack_agent.backup.claim import Claim
from lvpack_agent.backup.dump import set_name
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.backup.survey import surveyed
from lvpack_agent.errors import LvpackError
from lvpack_agent.image import files, write
from lvpack_agent.inplace import refuse
from lvpack_agent.inplace.procedure import form, make_procedure
from lvpack_agent.inplace.work import Begun
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.plan import text
from lvpack_agent.probe.discover import Found
from lvpack_agent.sizes import MIB
from lvpack_agent.snapshots import overlay, stores
from lvpack_agent.snapshots.keeper import Keeper
from lvpack_agent.undo import Undo


def begin(job: Job, keeper: Keeper, found: Found, folder: Path, claim: Claim) -> Begun:
    """Probe and plan, and write down in the journal folder all that a later boot needs.

    Nothing is written to the disk. Raises Refused if the disk cannot be packed in place.
    """
    settings, session, scratch = job.settings, job.session, job.folder
    overlaid = overlay.overlay(found.paths, lambda undo: stores.in_memory(scratch / "store", undo))
    with overlaid as over, Undo() as source_undo:
        with session.phase("plan"):
            survey = source_undo.enter_context(
                surveyed(found, over.devices, session, margin=settings.margin, rebuild=False)
            )
            planned, source = survey.plan, survey.source
            shown = text.as_text(planned, text.inplace_costs(planned))
            session.show(shown)
        name = session.called = set_name(job.shared, settings.name, survey.host)
        if settings.dump:
            for taken in (name, name + files.PARTIAL):
                write.refuse_taken(job.shared, taken)
            refuse.no_room(job.shared, planned, settings.compress, session.warn)
        refuse.overlay_only(planned)
        refuse.metadata(source)
        procedure = make_procedure(planned, source.unclean)
        tables.write(scratch, source, {found.vg: lvm.metadata_text(found.vg, source.pvs, scratch)}, shown)
        with session.phase("check"):
            refuse.damage(source, procedure.shrinking, session.say)
    begun = Begun(name=name, plan=planned, layout=scratch / "layout", journal=None)
    if not procedure.shrinking:
        session.say("the disk is as the plan wants it: nothing is written to it")
        return begun
    refuse.fixed_pv(found)
    with session.phase("journal"):
        refuse.too_little_room(procedure.shrinking, keeper)
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
            steps=form(procedure.steps),
            run=secrets.token_hex(8),
        )
        entry = journal.begin(folder, claim, record, begun.layout)
        session.say(f"journal: {entry.folder.name} on the share; do not start the server before this run is finished")
        _try(keeper, entry)
    return replace(begun, journal=entry)


def _try(keeper: Keeper, entry: Journal) -> None:
    """Make a store and drop it: that one can be had is known before the first write to the disk."""
    try:
        with Undo() as undo:
            keeper.fresh(MIB, undo)
        keeper.drop_all()
    except LvpackError:
        entry.discard()
        raise
