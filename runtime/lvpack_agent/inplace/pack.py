"""In-place mode as a whole."""

import time
from contextlib import ExitStack
from pathlib import Path

from lvpack_agent.backup import claim as claims
from lvpack_agent.backup import journal, journal_read, journal_refuse, sameday
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.survey import find_source, refuse_marked, refuse_several
from lvpack_agent.devices import blockdev, lsblk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Disagreement, Failed, LvpackError, Refused
from lvpack_agent.inplace.begin import begin
from lvpack_agent.inplace.resume import is_of_this_run, refuse_renamed, resumed
from lvpack_agent.inplace.run import Work
from lvpack_agent.inplace.work import GOES_ON
from lvpack_agent.processes import run as run_tool
from lvpack_agent.settings.values import Settings
from lvpack_agent.snapshots import device_store
from lvpack_agent.snapshots.device_store import DeviceStore
from lvpack_agent.snapshots.file_store import FileStore
from lvpack_agent.undo import Undo


def pack(job: Job) -> str:
    """Shrink, compact and truncate the source's disk, dump it, and regrow it, as asked; return the closing message."""
    settings, session, share = job.settings, job.session, job.share
    with ExitStack() as holding:
        with Undo() as undo:
            with session.phase("probe"):
                all_disks, found = find_source(settings, session, undo)
                session.disk = found.disk.path
                refuse_several(found)
                journal_refuse.refuse_former(share, found.vg_uuid)
                folder = journal_read.folder(share, found.vg_uuid, journal_read.identity(found.disk))
                claim = holding.enter_context(claims.held(folder, session.say))
                entry = journal.find(folder, claim)
                # A folder may have been renamed after its disk, but the label of a scratch device was not.
                owner = journal_read.folder(share, found.vg_uuid, entry.record.disk) if entry else folder
                store = _store(settings, all_disks, found.disk, folder, owner.name)
            if entry and entry.progress.finished:
                if is_of_this_run(entry, found, settings, share):
                    # The power went just after its end.
                    session.name = entry.record.name if settings.dump else ""
                    return f"an earlier boot finished the run ({entry.progress.finished}); nothing has changed since"
                entry = None
            if entry is None:
                others = journal_read.unfinished(share, found.vg_uuid)
                refuse_marked(found, others, folder.name)
                for other in others:
                    refuse_renamed(other, folder.name, found)
                    session.say(
                        f"journal: the run in '{other.name}' on the share is not finished; it is of another disk"
                    )
                if settings.dump and not settings.name:
                    sameday.refuse_second(share, found.vg_uuid, time.time())
                begun = begin(job, store, found, folder, claim)
            else:
                begun = resumed(entry, settings, session)
        session.name = begun.name if settings.dump else ""
        session.measured(source_disk=found.disk.size, packed_disk=begun.plan.packed_size)
        with Undo() as undo:
            spared = (found.disk, *lsblk.holding(all_disks, settings.scratch))
            blockdev.set_read_only(tuple(d for d in all_disks if d not in spared), undo)
            undo.callback(run_tool, ["blockdev", "--rereadpt", found.disk.path], ok=range(256))
            try:
                return Work(begun, found.disk, store, session, job.folder).perform(job)
            except OSError as error:
                raise Failed(
                    f"cannot go on: {error.strerror or error}" + (f": '{error.filename}'" if error.filename else ""),
                    hint=f"check the share, the network and the disks (dmesg); {GOES_ON}",
                ) from error
            except Disagreement:
                raise
            except LvpackError as error:
                if not begun.journal or begun.journal.progress.finished:
                    raise
                kind = Refused if isinstance(error, Refused) else Failed
                raise kind(error.message, hint="; ".join(filter(None, [error.hint, GOES_ON]))) from error


def _store(
    settings: Settings, all_disks: tuple[BlockDevice, ...], source: BlockDevice, folder: Path, owner: str
) -> FileStore | DeviceStore:
    if settings.scratch in ("auto", "share"):
        return FileStore(folder, "store-")
    return device_store.scratch_device(all_disks, settings.scratch, (source,), owner)
