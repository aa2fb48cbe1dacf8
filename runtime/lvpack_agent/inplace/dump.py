"""The image set of a disk that was packed in place.

Needs a machine: it is tested in guests (qemu-tests/tests/test_inplace.py and test_journal.py).
"""

import secrets
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from lvpack_agent.backup.badsectors import Origin
from lvpack_agent.backup.claim import SILENT_SECONDS
from lvpack_agent.backup.dump import dump
from lvpack_agent.backup.job import Job
from lvpack_agent.backup.journal_record import Record
from lvpack_agent.devices import dmsetup
from lvpack_agent.image import check, files, write
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.inplace.work import Begun
from lvpack_agent.layout.spots import spots
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.verify import verified
from lvpack_agent.session import Session
from lvpack_agent.shares.share import server_time
from lvpack_agent.undo import Undo


def check_packed(disk: str, plan: Plan, session: Session) -> None:
    """Check that a disk begins with what the plan's target is, and that its filesystems are sound."""
    with Undo() as undo, session.phase("check"), verified([_packed(disk, plan, undo)], plan.target, session.say):
        pass


def dump_packed(job: Job, begun: Begun, disk: str) -> None:
    """Write the image set of a packed disk, named session.name; one that an earlier boot has written is checked."""
    session, share = job.session, job.share
    entry, plan = begun.journal, begun.plan
    if entry and (share / session.name).exists():
        # Power went between the set's last rename and the journal's next line; else the name is somebody else's.
        manifest = check.read_manifest(share / session.name, session.warn)
        if manifest.plan == plan and is_of_run(manifest, entry.record):
            check.check_images(share / session.name, manifest, session.say)
            return
    mine = entry is not None and entry.progress.dumping
    with write.Writer(job.shared, job.settings.readers) as writer, Undo() as undo:
        if entry and not mine:
            _remove_if_abandoned(share / (session.name + files.PARTIAL), entry.folder)
        folder = writer.begin(session.name, leftover=mine)
        files.check_group(folder, session.warn)
        if entry and not mine:
            entry.advance(dumping=True)
        files.copy_layout(begun.layout, folder)
        run = entry.record.run if entry else ""
        # What is packed stands on the disk itself.
        layout = replace(plan.target, disks=tuple(replace(d, path=disk) for d in plan.target.disks))
        origin = Origin(layout=layout, paths=(disk,), locate=partial(spots, layout))
        dump(job, folder, [_packed(disk, plan, undo)], plan, origin, run or secrets.token_hex(8))


def is_of_run(manifest: Manifest, record: Record) -> bool:
    """Return whether a set was made by the run of a journal; a clock may have gone back since.

    Older versions wrote down no more than times.
    """
    if record.run and manifest.run:
        return manifest.run == record.run
    return not record.run and manifest.created >= record.created


def _packed(disk: str, plan: Plan, undo: Undo) -> str:
    """Map the part of a disk that is packed; return the device."""
    piece = dmsetup.Linear(device=disk, offset=0, size=plan.packed_size)
    return dmsetup.create("lvpack-packed", dmsetup.linear_table([piece]), undo)


def _remove_if_abandoned(left: Path, beside: Path) -> None:
    """Remove the folder of a set that is not complete, if it is empty and not new; beside is a folder of the share.

    The power went before the journal said whose it is. Another machine that has just made it puts something in it.
    """
    with suppress(OSError):
        if server_time(beside) - left.stat().st_mtime > SILENT_SECONDS:
            left.rmdir()
