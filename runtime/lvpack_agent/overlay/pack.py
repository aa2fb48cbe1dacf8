"""Overlay mode: probe, plan, shrink and compact in a copy-on-write overlay, verify, dump."""

import time
from collections.abc import Callable
from pathlib import Path

from lvpack_agent.backup import journal, sameday
from lvpack_agent.backup import tables as rescue
from lvpack_agent.backup.dump import dump, set_name
from lvpack_agent.backup.survey import Survey, find_source, refuse_marked, surveyed
from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.image import write
from lvpack_agent.inplace import run as inplace
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.overlay import shrink
from lvpack_agent.overlay.packed import packed_disks
from lvpack_agent.plan import text
from lvpack_agent.probe.discover import Found
from lvpack_agent.report import Run
from lvpack_agent.settings.values import Settings
from lvpack_agent.shares import url as urls
from lvpack_agent.shares.mounted import mounted
from lvpack_agent.sizes import human
from lvpack_agent.snapshots import overlay, stores
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo

IN_MEMORY = ("auto", "ram")


def backup(settings: Settings, run: Run, scratch: Path, log: Path) -> str:
    """Pack the server's disk into an image set, or only plan it; return the closing message.

    scratch is a folder for mounts and small files, log the agent's log so far.
    """
    with Undo() as undo:
        if settings.action == "plan":
            return _plan(settings, run, scratch, undo)
        with run.phase("share"):
            url = urls.parse(settings.target)
            share = undo.enter_context(mounted(url, scratch / "share", run.say, read_only=False))
        if settings.mode == "inplace":
            return inplace.pack(settings, run, share, scratch, log)
        return _pack(settings, run, share, scratch, log, undo)


def _plan(settings: Settings, run: Run, scratch: Path, undo: Undo) -> str:
    with run.phase("probe"):
        _, found = find_source(settings, run, undo)
        refuse_marked(found)
        overlaid = undo.enter_context(overlay.overlay(found.paths, lambda u: stores.in_memory(scratch / "store", u)))
        store = overlaid.store
    room = _room(store) if settings.mode == "overlay" and settings.scratch in IN_MEMORY else None
    with run.phase("plan"), surveyed(found, overlaid.devices, settings, run, room) as survey:
        planned = survey.plan
        if settings.mode == "inplace":
            run.say(text.as_text(planned, text.inplace_costs(planned)))
        else:
            _show(survey, store, run)
            if room and planned.store > room():
                run.warn(_too_small(survey, store, room()).message)
    return f"planned: {_disks(found)} can become {human(planned.packed_size)}"


def _disks(found: Found) -> str:
    return f"disk{'s' if len(found.disks) > 1 else ''} {' and '.join(found.paths)}"


def _pack(settings: Settings, run: Run, share: Path, scratch: Path, log: Path, undo: Undo) -> str:
    writer = undo.enter_context(write.Writer(share))
    with run.phase("probe"):
        all_disks, found = find_source(settings, run, undo)
        journal.refuse_unfinished(share, found.vg_uuid, journal.identity(found.disk))
        refuse_marked(found)
        if not settings.name:
            sameday.refuse_second(share, found.vg_uuid, time.time())

        def make_store(at_end: Undo) -> Store:
            return _store(settings, all_disks, found.disks, share, scratch, at_end)

        overlaid = undo.enter_context(overlay.overlay(found.paths, make_store))
        store = overlaid.store
    with Undo() as source_undo:
        with run.phase("plan"):
            room = _room(store)
            survey = source_undo.enter_context(surveyed(found, overlaid.devices, settings, run, room))
            source, planned = survey.source, survey.plan
            plan_text = _show(survey, store, run)
        if planned.store > room():
            raise _too_small(survey, store, room())
        run.name = set_name(settings.name, survey.host)
        folder = writer.begin(run.name)
        vg_texts = {vg.name: lvm.metadata_text(vg.name, source.pvs, scratch) for vg in source.layout.vgs}
        rescue.write(folder, source, vg_texts, plan_text)
        with run.phase("shrink"):
            findings = shrink.shrink(
                source, found.paths, planned, scratch / "filesystem", run.say, readback=settings.readback
            )
            for finding in findings:
                run.warn(finding)
            run.sizes["store_used"] = dmsetup.store_use(overlay.SOURCE).used
    with run.phase("compact"):
        packed = packed_disks(planned, overlaid.devices, vg_texts, scratch, undo)
    dump(folder, packed, planned, settings, run, log, lambda: dmsetup.store_use(overlay.SOURCE))
    return (
        f"packed {_disks(found)} ({human(run.sizes['source_disk'])}) into {human(planned.packed_size)}, "
        f"{human(run.sizes['image'])} compressed, as image set {run.name}"
    )


def _room(store: Store) -> Callable[[], int]:
    """Return what tells the bytes that are left in the store of the overlay."""
    return lambda: store.size - dmsetup.store_use(overlay.SOURCE).used


def _show(survey: Survey, store: Store, run: Run) -> str:
    """Say the plan and what it needs; return the text."""
    shown = text.as_text(survey.plan, text.overlay_costs(survey.plan, store.size, store.place))
    run.say(shown)
    if survey.plan.packed_size > survey.wished.packed_size:
        run.warn(text.cost_of_fitting(survey.plan, survey.wished))
    return shown


def _store(
    settings: Settings,
    all_disks: tuple[BlockDevice, ...],
    sources: tuple[BlockDevice, ...],
    share: Path,
    scratch: Path,
    undo: Undo,
) -> Store:
    """Return the store of an overlay where lvpack.scratch wants it; what it held means nothing when the run is over."""
    if settings.scratch in IN_MEMORY:
        return stores.in_memory(scratch / "store", undo)
    size = sum(disk.size for disk in sources)
    if settings.scratch == "share":
        on_share = stores.FileStore.anew(share)
        undo.callback(on_share.drop)
        return on_share.fresh(size, undo)
    return stores.scratch_device(all_disks, settings.scratch, sources, stores.FREE).fresh(size, undo)


def _too_small(survey: Survey, store: Store, room: int) -> Refused:
    least, best = survey.plan.store, survey.wished.store
    better = f" ({human(best - room)} to shrink as far as lvpack.margin allows)" if best > least else ""
    return Refused(
        f"cannot shrink in {store.place}: the copy-on-write store needs about {human(least)}, there is room for "
        f"{human(room)}",
        hint=f"give it {human(least - room)} more{better}, or another place (lvpack.scratch=share or a device), or "
        "shrink less with a larger lvpack.margin",
    )
