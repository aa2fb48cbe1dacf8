"""What is written down after each step, and which phase a step is of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lvpack_agent.backup import journal
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.inplace import run
from lvpack_agent.inplace.procedure import make_procedure
from lvpack_agent.inplace.steps import MarkVg, MoveExtents, ResizeFilesystem
from lvpack_agent.inplace.work import Work
from lvpack_agent.session import Session
from lvpack_agent.sizes import MIB
from tests.agent.builders.devices import device
from tests.agent.builders.journals import begun_journal
from tests.agent.builders.keepers import NoKeeper

MERGE = Merge(before=("b",), after=("a",), store="token", size=7 * MIB, begun=True)


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Iterator[Journal]:
    with begun_journal(blog, tmp_path) as entry:
        yield entry


def at_work(entry: Journal, keeper: NoKeeper) -> Work:
    return Work(
        journal=entry,
        procedure=make_procedure(entry.record.plan, entry.record.unclean),
        disk=device(Path("/dev/none")),
        keeper=keeper,
        session=Session(action="backup", out=print),
        folder=Path("/nowhere"),
    )


def test_each_step_is_counted_and_what_it_moved_while_the_disk_is_packed(begun: Journal) -> None:
    keeper = NoKeeper()
    work = at_work(begun, keeper)
    for number, step in enumerate(work.procedure.steps):
        assert work.is_shrinking == (number < work.procedure.packed_after)
        assert work.is_regrowing == (number > work.procedure.packed_after)
        if isinstance(step, ResizeFilesystem):
            begun.advance(merge=MERGE)
        run.written(work, step)
        found = journal.find(begun.folder, begun.claim)
        assert found and found.progress == begun.progress, "it is on the share"
        assert (begun.progress.done, begun.progress.merge) == (number + 1, None)
    resized = [s for s in work.procedure.steps if isinstance(s, ResizeFilesystem)]
    shrunk = [s for s in work.procedure.shrinking if isinstance(s, ResizeFilesystem)]
    assert 0 < len(shrunk) < len(resized)
    assert keeper.dropped == ["token"] * len(resized)
    assert begun.progress.shrink_moved == MERGE.size * len(shrunk)
    assert begun.progress.compact_moved == work.plan.moving > 0


def test_the_last_merge_is_remembered_until_the_next(begun: Journal) -> None:
    work = at_work(begun, NoKeeper())
    begun.advance(merge=MERGE)
    run.written(work, work.procedure.steps[1])
    assert begun.progress.merged == "token"
    run.written(work, work.procedure.steps[2])
    assert begun.progress.merged == "token"


def test_a_store_is_dropped_only_when_it_is_written_down_that_nobody_needs_it(begun: Journal) -> None:
    class Late(NoKeeper):
        def drop(self, token: str) -> None:
            found = journal.find(begun.folder, begun.claim)
            assert found and (found.progress.merge, found.progress.merged) == (None, token)
            super().drop(token)

    keeper = Late()
    begun.advance(merge=MERGE)
    run.written(at_work(begun, keeper), MarkVg(on=True))
    assert keeper.dropped == ["token"]


def test_phases(begun: Journal) -> None:
    """They are fields of the result's timings: shrink, compact, truncate, and regrow for whatever comes after."""
    work = at_work(begun, NoKeeper())
    phases = [run.phase_of(work, number, step) for number, step in enumerate(work.procedure.steps)]
    packing, growing = phases[: work.procedure.packed_after], phases[work.procedure.packed_after :]
    assert list(dict.fromkeys(packing)) == ["shrink", "compact", "truncate"]
    assert set(growing) == {"regrow"}
    assert any(isinstance(step, MoveExtents) for step in work.procedure.steps[work.procedure.packed_after :])
