"""The steps of an in-place run, phase by phase: each is done, flushed, checked, and written down, in this order."""

from itertools import groupby

from lvpack_agent.backup import journal
from lvpack_agent.errors import Failed
from lvpack_agent.inplace.disk import heads, opened, write_table
from lvpack_agent.inplace.perform import perform
from lvpack_agent.inplace.states import same_extents
from lvpack_agent.inplace.steps import (
    AddArea,
    MoveExtents,
    RemoveArea,
    ResizePv,
    Step,
    VolumeStep,
    WriteTable,
)
from lvpack_agent.inplace.work import Work
from lvpack_agent.probe.verify import verified
from lvpack_agent.sizes import human

# The phases of the steps that pack a disk; any other step is of phase "shrink".
PHASES: dict[type[Step], str] = {
    MoveExtents: "compact",
    RemoveArea: "truncate",
    ResizePv: "truncate",
    AddArea: "truncate",
    WriteTable: "truncate",
}


def pack(work: Work) -> None:
    """Do the steps that pack the disk, as far as they are not done, and say how many bytes were moved."""
    _do(work, work.procedure.packed_after)
    session, plan, progress = work.session, work.plan, work.journal.progress
    session.measured(
        shrink_estimate=plan.store,
        shrink_moved=progress.shrink_moved,
        compact_estimate=plan.moving,
        compact_moved=progress.compact_moved,
    )
    session.say(
        f"moved: shrink {human(progress.shrink_moved)} (estimate {human(plan.store)}), compaction "
        f"{human(progress.compact_moved)} (estimate {human(plan.moving)})"
    )


def regrow(work: Work) -> None:
    """Do the steps that give the disk its former sizes, as far as they are not done, and check what comes of it."""
    _do(work, len(work.procedure.steps))
    with work.session.phase("check"), verified([work.disk.path], work.plan.source, work.session.say):
        pass


def finish(work: Work) -> None:
    """Write down that the run is over, and what the superblocks of its filesystems are now."""
    work.journal.claim.check()
    work.keeper.release()
    final = work.plan.source if work.is_regrowing else work.plan.target
    work.journal.advance(finished=journal.now(), heads=heads(work.disk.path, final))


def _do(work: Work, end: int) -> None:
    """Do those of the first end steps that are not done."""
    first = work.journal.progress.done
    left = enumerate(work.procedure.steps[first:end], first)
    for phase, group in groupby(left, key=lambda pair: phase_of(work, *pair)):
        with work.session.phase(phase):
            for on_table, some in groupby(group, key=lambda pair: isinstance(pair[1], WriteTable)):
                steps = [step for _, step in some]
                if on_table:
                    _write_tables(work, [step for step in steps if isinstance(step, WriteTable)])
                else:
                    _change_volumes(work, [step for step in steps if not isinstance(step, WriteTable)])


def phase_of(work: Work, number: int, step: Step) -> str:
    """Return the phase that a step is of, a field of Timings; number is how many steps are before it."""
    return PHASES.get(type(step), "shrink") if number < work.procedure.packed_after else "regrow"


def _write_tables(work: Work, steps: list[WriteTable]) -> None:
    """Write partition tables, while no partition is open."""
    for step in steps:
        work.session.say(f"-- {step}")
        work.journal.claim.check()
        write_table(work.disk.path, step, work.disk.sector_size)
        work.flush()
        written(work, step)


def _change_volumes(work: Work, steps: list[VolumeStep]) -> None:
    """Do steps on partitions and LVs, which are open meanwhile."""
    with opened(work.disk.path, work.plan) as volumes:
        for step in steps:
            wanted = work.procedure.states[work.journal.progress.done + 1]
            work.session.say(f"-- {step}")
            work.journal.claim.check()
            perform(step, work, volumes, wanted)
            work.flush()
            if not same_extents(volumes.extents(), wanted):
                raise Failed(f"cannot trust VG '{volumes.vg}': after '{step}' its extents are not as planned")
            written(work, step)


def written(work: Work, step: Step) -> None:
    """Write down that the next step, which is this one, is done, and drop the store that it has merged.

    While the disk is packed, the bytes that the step has moved are added up.
    """
    if work.session.outages and work.journal.mend():
        work.session.warn(
            "the file server has lost what it had acknowledged of the journal, which was written anew: export with sync"
        )
    progress, moved, shrunk = work.journal.progress, 0, 0
    merge = progress.merge
    if work.is_shrinking:
        moved = step.move.count * work.source_vg.extent_size if isinstance(step, MoveExtents) else 0
        shrunk = merge.size if merge else 0
    work.journal.advance(
        done=progress.done + 1,
        merge=None,
        merged=merge.store if merge else progress.merged,
        shrink_moved=progress.shrink_moved + shrunk,
        compact_moved=progress.compact_moved + moved,
    )
    if merge:
        work.keeper.drop(merge.store)
