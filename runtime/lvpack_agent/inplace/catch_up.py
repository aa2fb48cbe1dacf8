"""Where a boot finds the disk: as the journal says, or one step ahead of it, as a power cut leaves it.

Needs a machine: it is tested in guests (qemu-tests/tests/test_journal.py, tools/powercuts.py); what of it is
arithmetic is disk.position().
"""

from typing import NoReturn

from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.inplace import refuse
from lvpack_agent.inplace.disk import Volumes, opened, position
from lvpack_agent.inplace.run import written
from lvpack_agent.inplace.work import Work
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import pvlabel, pvmove, tags
from lvpack_agent.lvm.vgreport import Vg


def catch_up(work: Work) -> None:
    """See where the disk is; if it is one step ahead of the journal, write that down.

    What a cut-off write or pvmove has left of LVM's metadata is put right. Raises Disagreement if the disk is
    elsewhere, Refused if it has another size than before or the server is hibernated.
    """
    entry, plan, procedure = work.journal, work.plan, work.procedure
    done, source = entry.progress.done, plan.source.disks[0]
    if work.disk.size != source.size and work.is_shrinking:
        raise Refused(
            f"cannot go on: disk '{work.disk.path}' has {work.disk.size:,} bytes, it had {source.size:,} "
            "when this run began",
            hint="attach the disk as it was; it can be cut when it is truncated",
        )
    with opened(work.disk.path, plan) as volumes:
        _check_tags(work, volumes.report())
        found = position(volumes, plan, procedure.steps, procedure.states, done)
        for lv in work.source_vg.lvs:
            if lv.content.type == "swap":
                refuse.suspended(f"LV {lv.name}", volumes.lvs[lv.uuid])
        _mend_metadata(work, volumes)
        if left := pvmove.left_over(volumes.report()):
            work.session.say(f"remove LV {left.name}, which a pvmove that was cut off at its end has left")
            lvm.remove(volumes.vg, left.name, volumes.pv)
    if found > done:
        work.flush()
        written(work, procedure.steps[done])


def _check_tags(work: Work, vg: Vg) -> None:
    """Raise Disagreement if the VG's tags tell of merges and steps that the journal does not, or the other way round.

    Then the journal is older than the disk, or the disk is another one.
    """
    progress, begun = work.journal.progress, tags.merges(vg.tags)
    merge = progress.merge
    if unknown := sorted(set(begun) - {progress.merged, merge.store if merge else ""}):
        raise Disagreement(
            f"cannot go on: the journal in '{work.journal.folder.name}' on the share is older than the disk, on which "
            f"the merge of store {unknown[0]} has begun",
            hint="the file server has lost what it had acknowledged, or the folder was put back from a backup: "
            f"bring back the folder as that boot left it, with store-{unknown[0]} if the store was in it. Do not "
            "start this machine's own system: a filesystem may be half merged; see docs/in-place.md",
        )
    marked = tags.TAG in vg.tags
    if marked not in work.procedure.marks[progress.done : progress.done + 2]:
        _refuse_disk(work, f"its VG has {'the' if marked else 'no'} tag {tags.TAG}")
    if merge and merge.begun and merge.store not in begun:
        _refuse_disk(work, f"its VG has no tag {tags.MERGE_TAG}{merge.store}")


def _refuse_disk(work: Work, why: str) -> NoReturn:
    raise Disagreement(
        f"cannot go on: disk '{work.disk.path}' is not as the run in '{work.journal.folder.name}' left its own: {why}",
        hint="it is a clone of that disk, or was rolled back to an earlier state; nothing was written to it now. "
        "Finish the run on its own disk, as that was left; for this one use another share, or give it a serial "
        "number",
    )


def _mend_metadata(work: Work, volumes: Volumes) -> None:
    """Write the newest metadata to all metadata areas of the PV, if they differ or one is damaged.

    LVM does not flush between writing one area and the next: after a power cut any one of them may be older.
    """
    try:
        pvlabel.check(volumes.pv)
    except Failed as why:
        work.session.say(f"write the metadata of VG {volumes.vg} anew: {why.message}")
        lvm.update_metadata(volumes.vg, volumes.pv)
        work.flush()
