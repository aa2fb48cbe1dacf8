"""Overlay mode: probe, plan, shrink and compact in a copy-on-write overlay, verify, dump.

Tested in guests, as it needs device-mapper: qemu-tests/tests/test_main_job.py, test_bad_input.py.
"""

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lvpack_agent.backup import badsectors, clock, journal_read, journal_refuse, sameday, tables
from lvpack_agent.backup.dump import dump, set_name
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.survey import Survey, find_source, refuse_marked, refuse_several, surveyed
from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import files, losses, write
from lvpack_agent.image.salvage import untried
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.outcome import say_notes
from lvpack_agent.overlay import shrink
from lvpack_agent.overlay.packed import packed_disks
from lvpack_agent.plan import text
from lvpack_agent.plan.locate import in_source
from lvpack_agent.probe.discover import Found
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.sizes import human
from lvpack_agent.snapshots import device_store, file_store, overlay, scratch_label, stores
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo

# So often a run is begun anew around bad sectors; each time finds those of 2 MiB around what the kernel has named.
ATTEMPTS = 30
IN_MEMORY = ("auto", "ram")


def only_plan(settings: Settings, session: Session, folder: Path) -> str:
    """Say what a backup would do, in either mode; return the closing message. folder is for mounts and small files."""
    with Undo() as undo:
        return _only_plan(settings, session, folder, undo)


def _only_plan(settings: Settings, session: Session, folder: Path, undo: Undo) -> str:
    in_place = settings.mode == "inplace"
    with session.phase("probe"):
        _, found = find_source(settings, session, undo)
        session.disk = found.disk.path
        if in_place:
            refuse_several(found)
        refuse_marked(found)
        overlaid = undo.enter_context(overlay.overlay(found.paths, lambda u: stores.in_memory(folder / "store", u)))
        store = overlaid.store
    room = _room(store) if not in_place and settings.scratch in IN_MEMORY else None
    with (
        session.phase("plan"),
        surveyed(found, overlaid.devices, session, margin=settings.margin, rebuild=not in_place, room=room) as survey,
    ):
        planned = survey.plan
        if in_place:
            session.show(text.as_text(planned, text.inplace_costs(planned)))
        else:
            _show(survey, store, session)
            if room and planned.store > room():
                session.warn(_too_small(survey, store, room()).message)
    return f"planned: {_disks(found)} can become {human(planned.packed_size)}"


def _disks(found: Found) -> str:
    return f"disk{'s' if len(found.disks) > 1 else ''} {' and '.join(found.paths)}"


def pack_in_overlay(job: Job) -> str:
    """Pack the server's disks into an image set; return the closing message.

    With lvpack.errors=skip a run that fails at bad sectors is begun anew, with zeros in their place, as often as that
    finds more of them. What was written to an overlay cannot be trusted once a read under it has failed.
    """
    session, holes = job.session, badsectors.Holes()
    warnings, compression = list(session.warnings), session.compression
    for attempt in range(ATTEMPTS):
        tried: list[BlockDevice] = []
        try:
            with Undo() as undo:
                return _pack(job, undo, holes, tried)
        except Failed as failed:
            sectors = {disk.path: disk.sector_size for disk in tried}
            if session.is_ending() or attempt == ATTEMPTS - 1:
                raise
            if job.settings.errors != "skip" or not holes.widen(tuple(sectors), sectors):
                raise
            session.say(f"begun anew, with zeros for {holes.count:,} bytes that cannot be read: {failed.message}")
            say_notes(failed, session)
            session.warnings[:], session.compression = warnings, compression
    raise AssertionError("the last attempt returns or raises")


def _pack(job: Job, undo: Undo, holes: badsectors.Holes, tried: list[BlockDevice]) -> str:
    """Pack; tried gets the disks as soon as they are known."""
    settings, session, share = job.settings, job.session, job.shared
    writer = undo.enter_context(write.Writer(share, settings.readers))
    with session.phase("probe"):
        all_disks, found = find_source(settings, session, undo, job.shared.device)
        session.disk = found.disk.path
        session.sources = found.paths
        tried += found.disks
        if not share.is_remote:
            journal_refuse.refuse_unfinished(share.folder, found.vg_uuid, journal_read.identity(found.disk))
        refuse_marked(found)
        clocks = clock.read(share)
        for doubt in sameday.doubts(share, found.vg_uuid, clocks):
            session.warn(doubt)
        if not settings.name:
            sameday.refuse_second(share, found.vg_uuid, clocks, session)

        def make_store(at_end: Undo) -> Store:
            return _store(settings.scratch, all_disks, found.disks, job, at_end)

        readable = holes.over(found.paths, undo)
        if holes.untried:
            session.warn(untried(holes.untried))
        overlaid = undo.enter_context(overlay.overlay(readable, make_store))
        store = overlaid.store
    with Undo() as source_undo:
        with session.phase("plan"):
            room = _room(store)
            survey = source_undo.enter_context(
                surveyed(
                    found,
                    overlaid.devices,
                    session,
                    margin=settings.margin,
                    rebuild=True,
                    room=room,
                    repair_all=holes.count > 0,
                )
            )
            source, planned = survey.source, survey.plan
            origin = badsectors.Origin(layout=source.layout, paths=found.paths, locate=partial(in_source, planned))
            lost = badsectors.named(list(holes.spots(origin)), origin, source.volumes(), job.folder / "filesystem")
            plan_text = _show(survey, store, session)
        session.name = set_name(share, settings.name, survey.host)
        if planned.store > room():
            raise _too_small(survey, store, room())
        folder = writer.begin(session.name)
        files.check_group(folder, session.warn)
        vg_texts = {vg.name: lvm.metadata_text(vg.name, source.pvs, job.folder) for vg in source.layout.vgs}
        tables.write(folder, source, vg_texts, plan_text)
        with session.phase("shrink"):
            findings = shrink.shrink(
                source, readable, planned, job.folder / "filesystem", session.say, readback=settings.readback
            )
            for finding in findings:
                session.warn(finding)
            session.measured(store_used=dmsetup.store_use(overlay.SOURCE).used)
    with session.phase("compact"):
        packed = packed_disks(planned, overlaid.devices, vg_texts, job.folder, undo)
    run = secrets.token_hex(8)
    lost = dump(job, folder, packed, planned, origin, run, lambda: dmsetup.store_use(overlay.SOURCE), lost)
    missing = f"; DATA IS MISSING: see the warnings and {losses.BAD_SECTORS}" if losses.summary(lost) else ""
    return (
        f"packed {_disks(found)} ({human(session.sizes.source_disk)}) into {human(planned.packed_size)}, "
        f"{human(session.sizes.image)} compressed, as image set {session.name}{missing}"
    )


def _room(store: Store) -> Callable[[], int]:
    """Return a function that returns how many bytes are left in the overlay's store."""
    return lambda: store.size - dmsetup.store_use(overlay.SOURCE).used


def _show(survey: Survey, store: Store, session: Session) -> str:
    """Say the plan and what it needs; return the text."""
    shown = text.as_text(survey.plan, text.overlay_costs(survey.plan, store.size, store.place))
    session.show(shown)
    if survey.plan.packed_size > survey.wished.packed_size:
        session.warn(text.cost_of_fitting(survey.plan, survey.wished))
    return shown


def _store(
    scratch: str, all_disks: tuple[BlockDevice, ...], sources: tuple[BlockDevice, ...], job: Job, undo: Undo
) -> Store:
    """Return the store of an overlay, where lvpack.scratch wants it. Nothing of it is needed when the run is over."""
    if scratch in IN_MEMORY:
        return stores.in_memory(job.folder / "store", undo)
    size = sum(disk.size for disk in sources)
    if scratch == "share":
        job.shared.refuse_store()
        job.session.has_store = True
        undo.callback(setattr, job.session, "has_store", False)
        on_share = file_store.FileStore.anew(job.share)
        undo.callback(on_share.drop_all)
        return on_share.fresh(size, undo)
    return device_store.scratch_device(all_disks, scratch, sources, scratch_label.FREE).fresh(size, undo)


def _too_small(survey: Survey, store: Store, room: int) -> Refused:
    least, best = survey.plan.store, survey.wished.store
    better = f" ({human(best - room)} to shrink as far as lvpack.margin allows)" if best > least else ""
    return Refused(
        f"cannot shrink in {store.place}: the copy-on-write store needs about {human(least)}, there is room for "
        f"{human(room)}",
        hint=f"give it {human(least - room)} more{better}, or another place (lvpack.scratch=share or a device), or "
        "shrink less with a larger lvpack.margin",
    )
