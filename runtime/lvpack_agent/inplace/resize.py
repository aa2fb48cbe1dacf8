"""One filesystem resized in a snapshot and merged back, so that a power loss at any moment does no harm.

The journal knows of the merge before the disk does, and the disk before the first block is merged: by both a later
boot tells whether a store holds what the disk lacks. Needs a machine: it is tested in guests
(qemu-tests/tests/test_inplace.py and test_journal.py, tools/powercuts.py).
"""

from dataclasses import replace

from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.devices import blkid
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.errors import Disagreement, Failed
from lvpack_agent.filesystems import ext
from lvpack_agent.inplace.disk import Volumes, disagree
from lvpack_agent.inplace.merge import merge as merge_back
from lvpack_agent.inplace.merge import prepare
from lvpack_agent.inplace.steps import ResizeFilesystem
from lvpack_agent.inplace.work import Work
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import tags
from lvpack_agent.plan import sizes
from lvpack_agent.sizes import human
from lvpack_agent.undo import Undo

# So often a filesystem is resized when the share is out meanwhile.
ATTEMPTS = 3


def resize(step: ResizeFilesystem, work: Work, volumes: Volumes) -> None:
    """Resize a filesystem, or go on with the merge of what an earlier boot has resized; check it then.

    Raises Disagreement if the device holds another filesystem, or what was merged is damaged.
    """
    device = volumes.lvs[step.lv] if step.lv else volumes.partitions[step.partition]
    merge = work.journal.progress.merge
    if merge is None or not (merge.begun or merge.store in tags.merges(volumes.report().tags)):
        # Nothing was merged, or the VG would say so: the disk has all, what an earlier boot left in a store is old.
        work.keeper.drop_all()
        merge = _surely_resized(step, work, device)
    if not merge.begun:
        _tell_of_merge(work, volumes, merge.store)
        merge = replace(merge, begun=True)
        work.journal.advance(merge=merge)
    work.session.say(f"-- merge {step.name} ({human(merge.size)})")
    with Undo() as undo:
        merge_back(device, step.name, merge, work.keeper.again(merge.store, undo), work.session.say)
    work.session.say(f"check {step.name} after the merge (read-only)")
    try:
        ext.check(device)
    except ext.Unclean as failed:
        raise Disagreement(
            f"cannot trust {step.name}, which was merged: {failed.message}",
            hint="journal and store are kept. Do not start this machine's own system; look at the disk and the "
            "share (dmesg), and restore this filesystem from a backup if both are sound",
        ) from failed


def _surely_resized(step: ResizeFilesystem, work: Work, device: str) -> Merge:
    """Resize a filesystem in a store that the file server has never been away from: it may lose what it acknowledged.

    The journal was written to the share after the store, so that a server that is away by then is noticed. Raises
    Failed if it is away each time.
    """
    for _ in range(ATTEMPTS):
        before = work.session.outages
        merge = _resized(step, work, device)
        if work.session.outages == before or not work.session.has_store:
            return merge
        work.keeper.drop(merge.store)
        work.session.say(f"-- {step.name} is resized anew: the share did not answer for a while, and has the store")
    raise Failed(
        f"cannot trust the store of {step.name}: the share did not answer for a while in each of {ATTEMPTS} attempts, "
        "and the file server may have lost some of it",
        hint="the disk still has the filesystem as it was. See to the network and the file server, and export with "
        "sync; or give the store a place on a scratch device (lvpack.scratch=)",
    )


def _resized(step: ResizeFilesystem, work: Work, device: str) -> Merge:
    """Resize a filesystem in a new snapshot and write down that it shall be merged; the device stays as it is."""
    found = blkid.identify(device)
    if found.get("UUID", "") != step.old.uuid:
        raise disagree(f"{step.name} holds {found.get('TYPE', 'nothing')} {found.get('UUID', '')}")
    estimate = sizes.rewritten(step.old, step.new) if step.old.free else 0
    token = ""
    try:
        with Undo() as undo:
            store = work.keeper.fresh(size_of(device), undo)
            token = store.token
            merge, findings = prepare(
                device, step.name, step.new, store, estimate, work.folder / "filesystem", work.session.say
            )
        for finding in findings:
            if finding not in work.session.warnings:
                work.session.warn(finding)
        work.journal.advance(merge=merge)
    except BaseException:
        if token:
            work.keeper.drop(token)  # it may have filled the share, on which the next boot must write its claim
        raise
    return merge


def _tell_of_merge(work: Work, volumes: Volumes, token: str) -> None:
    """Tag the VG with the token of the store whose merge begins, in place of earlier ones.

    A journal that does not know of that store is told by this to be older than the disk.
    """
    before = tags.merges(volumes.report().tags)
    if token not in before:
        former = [f"{tags.MERGE_TAG}{other}" for other in before]
        lvm.tag(volumes.vg, volumes.pv, add=[f"{tags.MERGE_TAG}{token}"], remove=former)
        work.flush()
