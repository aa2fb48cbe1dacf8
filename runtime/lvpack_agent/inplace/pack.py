"""lvpack.mode=inplace: the disk itself is shrunk, compacted and truncated, step by step, and each step is written down.

Before the first write the plan and the source's tables are on the share. A boot that finds the journal of this
machine there goes on where the last one stopped and never plans again.

Needs a machine: it is tested in guests (qemu-tests/tests/test_inplace.py and test_journal.py).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.backup import claim as claims
from lvpack_agent.backup import clock, journal, journal_read, journal_refuse, sameday
from lvpack_agent.backup.claim import Claim
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.survey import find_source, refuse_marked, refuse_several
from lvpack_agent.devices import blockdev, lsblk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Disagreement, Ended, Failed, LvpackError, Refused
from lvpack_agent.inplace import run
from lvpack_agent.inplace.begin import begin
from lvpack_agent.inplace.catch_up import catch_up
from lvpack_agent.inplace.dump import check_packed, dump_packed
from lvpack_agent.inplace.procedure import make_procedure
from lvpack_agent.inplace.resume import is_of_this_run, refuse_renamed, resumed
from lvpack_agent.inplace.work import Begun, Work
from lvpack_agent.probe.discover import Found
from lvpack_agent.processes import run as run_tool
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.sizes import human
from lvpack_agent.snapshots import device_store
from lvpack_agent.snapshots.file_store import FileStore
from lvpack_agent.snapshots.keeper import Keeper
from lvpack_agent.undo import Undo

_GOES_ON = "the next boot with the same options goes on from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    """The disk to pack, and its journal folder, which is this boot's alone; entry is the journal that is in it."""

    all_disks: tuple[BlockDevice, ...]
    found: Found
    folder: Path
    claim: Claim
    entry: Journal | None
    keeper: Keeper


def pack(job: Job) -> str:
    """Shrink, compact and truncate the source's disk, dump it, and regrow it, as asked; return the closing message."""
    settings, session = job.settings, job.session
    with ExitStack() as holding:
        with Undo() as undo:
            with session.phase("probe"):
                claimed = _claimed(job, holding, undo)
            entry, found = claimed.entry, claimed.found
            if entry and entry.progress.finished:
                if is_of_this_run(entry, found, settings, job.share):
                    # The power went just after its end.
                    session.name = entry.record.name if settings.dump else ""
                    return f"an earlier boot finished the run ({entry.progress.finished}); nothing has changed since"
                entry = None
            begun = resumed(entry, settings, session) if entry else _begun(job, claimed)
        session.name, session.called = begun.name if settings.dump else "", begun.name
        session.measured(source_disk=found.disk.size, packed_disk=begun.plan.packed_size)
        with Undo() as undo:
            spared = (found.disk, *lsblk.holding(claimed.all_disks, settings.scratch))
            if job.shared.device:
                spared += lsblk.holding(claimed.all_disks, job.shared.device)
            blockdev.set_read_only(tuple(d for d in claimed.all_disks if d not in spared), undo)
            undo.callback(run_tool, ["blockdev", "--rereadpt", found.disk.path], ok=range(256))
            with _saying_what_goes_on(begun):
                return _performed(job, begun, found.disk, claimed.keeper)


def _claimed(job: Job, holding: ExitStack, undo: Undo) -> _Claimed:
    """Find the disk to pack and claim its journal folder; holding keeps the claim, undo keeps all disks read-only."""
    settings, session, share = job.settings, job.session, job.share
    job.shared.refuse_journal()
    all_disks, found = find_source(settings, session, undo, job.shared.device)
    session.disk = found.disk.path
    refuse_several(found)
    journal_refuse.refuse_former(share, found.vg_uuid)
    folder = journal_read.folder(share, found.vg_uuid, journal_read.identity(found.disk))
    claim = holding.enter_context(claims.held(folder, session.say, settings.patience))
    entry = journal.find(folder, claim)
    if entry:
        session.called = entry.record.name
    # A folder may have been renamed after its disk, but the label of a scratch device was not.
    owner = journal_read.folder(share, found.vg_uuid, entry.record.disk) if entry else folder
    keeper = _keeper(settings, session, all_disks, found.disk, folder, owner.name)
    return _Claimed(all_disks=all_disks, found=found, folder=folder, claim=claim, entry=entry, keeper=keeper)


def _keeper(
    settings: Settings,
    session: Session,
    all_disks: tuple[BlockDevice, ...],
    source: BlockDevice,
    folder: Path,
    owner: str,
) -> Keeper:
    """Return what keeps the stores: the journal folder, or the scratch device, whose label names owner."""
    session.has_store = settings.scratch in ("auto", "share")
    if session.has_store:
        return FileStore(folder, "store-")
    return device_store.scratch_device(all_disks, settings.scratch, (source,), owner)


def _begun(job: Job, claimed: _Claimed) -> Begun:
    """Begin a run, unless this may be the disk of one that is not finished or of a set that was made today."""
    settings, session, share, found = job.settings, job.session, job.share, claimed.found
    others = journal_read.unfinished(share, found.vg_uuid)
    refuse_marked(found, others, claimed.folder.name)
    for other in others:
        refuse_renamed(other, claimed.folder.name, found)
        session.say(f"journal: the run in '{other.name}' on the share is not finished; it is of another disk")
    clocks = clock.read(job.shared)
    for doubt in sameday.doubts(job.shared, found.vg_uuid, clocks):
        session.warn(doubt)
    if settings.dump and not settings.name:
        sameday.refuse_second(job.shared, found.vg_uuid, clocks, session)
    return begin(job, claimed.keeper, found, claimed.folder, claimed.claim)


def _performed(job: Job, begun: Begun, disk: BlockDevice, keeper: Keeper) -> str:
    """Do what is left of the run; return the closing message."""
    settings, session, entry = job.settings, job.session, begun.journal
    work = None
    if entry:
        work = Work(
            journal=entry,
            procedure=make_procedure(begun.plan, entry.record.unclean),
            disk=disk,
            keeper=keeper,
            session=session,
            folder=job.folder,
        )
        catch_up(work)
        run.pack(work)
    message = f"disk {disk.path} ({human(disk.size)}) is packed into its first {human(begun.plan.packed_size)}"
    if settings.dump:
        if not (entry and entry.progress.dumped):
            dump_packed(job, begun, disk.path)
            if entry:
                entry.advance(dumped=True)
        message += f", and stored as image set {session.name}"
    elif not (work and work.is_regrowing):
        check_packed(disk.path, begun.plan, session)
    if work and (settings.regrow or work.is_regrowing):
        run.regrow(work)
        message += "; it has its former sizes again"
    if work:
        run.finish(work)
    return message


@contextmanager
def _saying_what_goes_on(begun: Begun) -> Iterator[None]:
    """Add to an error that stops an unfinished run that the next boot goes on, if it can."""
    try:
        yield
    except OSError as error:
        raise Failed(
            f"cannot go on: {error.strerror or error}" + (f": '{error.filename}'" if error.filename else ""),
            hint=f"check the share, the network and the disks (dmesg); {_GOES_ON}",
            remains=_GOES_ON,
        ) from error
    except Disagreement:
        raise
    except LvpackError as error:
        if not begun.journal or begun.journal.progress.finished:
            raise
        kind = next((kind for kind in (Refused, Ended) if isinstance(error, kind)), Failed)
        raise kind(error.message, hint="; ".join(filter(None, [error.hint, _GOES_ON])), remains=_GOES_ON) from error
