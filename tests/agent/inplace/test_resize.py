"""A store that the file server may have lost is not merged; and when a merge is not to be trusted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.devices import blkid
from lvpack_agent.errors import Disagreement, Ended, Failed, LvpackError
from lvpack_agent.filesystems import ext
from lvpack_agent.inplace import resize
from lvpack_agent.inplace.procedure import make_procedure
from lvpack_agent.inplace.steps import ResizeFilesystem
from lvpack_agent.inplace.work import Work
from lvpack_agent.session import Session
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo
from tests.agent.builders.devices import device
from tests.agent.builders.journals import begun_journal
from tests.agent.builders.keepers import NoKeeper


class Keeper(NoKeeper):
    """Makes stores that are numbered from 1 on."""

    made = 0

    def fresh(self, origin: int, undo: Undo) -> Store:
        self.made += 1
        return self.again(str(self.made), undo)

    def again(self, token: str, undo: Undo) -> Store:
        return Store(device="/dev/none", size=1, place=self.place, token=token)


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Iterator[Journal]:
    with begun_journal(blog, tmp_path) as entry:
        yield entry


class Run:
    """A resize of the first filesystem; out says whether the share is out while a store with that number is written."""

    def __init__(self, entry: Journal, monkeypatch: pytest.MonkeyPatch, out: Callable[[int], bool]) -> None:
        self.keeper, self.merged, self.said = Keeper(), list[str](), list[str]()
        self.session = Session(action="backup", out=self.said.append, has_store=True)
        self.work = Work(
            journal=entry,
            procedure=make_procedure(entry.record.plan, entry.record.unclean),
            disk=device(Path("/dev/none")),
            keeper=self.keeper,
            session=self.session,
            folder=Path("/nowhere"),
        )
        self.step = next(s for s in self.work.procedure.steps if isinstance(s, ResizeFilesystem))

        def prepare(*args: Any) -> tuple[Merge, list[str]]:
            token = args[3].token
            self.session.outages += out(int(token))
            return Merge(before=("b",), after=("a",), store=token, size=7), ["a finding"]

        monkeypatch.setattr(resize, "prepare", prepare)
        monkeypatch.setattr(resize, "size_of", lambda _: 1)
        monkeypatch.setattr(blkid, "identify", lambda _: {"UUID": self.step.old.uuid})
        monkeypatch.setattr(resize, "_tell_of_merge", lambda *_: None)
        monkeypatch.setattr(resize, "merge_back", lambda *args: self.merged.append(args[2].store))
        monkeypatch.setattr(ext, "check", lambda _: None)

    def __call__(self) -> None:
        names: Any = SimpleNamespace(
            report=lambda: SimpleNamespace(tags=()),
            lvs={self.step.lv: "/dev/none"},
            partitions={self.step.partition: "/dev/none"},
        )
        resize.resize(self.step, self.work, names)


def test_a_store_is_merged_only_if_the_share_was_there_all_the_time(
    begun: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(begun, monkeypatch, out=lambda number: number < 3)
    run.session.outages = 5
    run()
    assert run.merged == ["3"] and run.keeper.dropped == ["all", "1", "2"]
    assert begun.progress.merge and begun.progress.merge.store == "3"
    assert run.session.warnings == ["a finding"]


def test_a_share_that_is_always_out_ends_the_run_before_the_disk_is_touched(
    begun: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(begun, monkeypatch, out=lambda _: True)
    with pytest.raises(Failed, match="may have lost") as failed:
        run()
    assert not isinstance(failed.value, Disagreement) and "sync" in failed.value.hint
    assert run.merged == [] and run.keeper.dropped[1:] == ["1", "2", "3"]
    assert begun.progress.merge and not begun.progress.merge.begun, "the next boot begins the step anew"


def test_a_store_elsewhere_is_no_matter_of_the_share(begun: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(begun, monkeypatch, out=lambda _: True)
    run.session.has_store = False
    run()
    assert run.merged == ["1"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ext.Unclean("inode 12 has illegal blocks"), Disagreement),
        (Failed("e2fsck did nothing for 10 min"), Failed),
        (Ended("told to end"), Ended),
    ],
)
def test_only_what_e2fsck_finds_tells_that_a_merge_is_not_to_be_trusted(
    begun: Journal, monkeypatch: pytest.MonkeyPatch, error: LvpackError, kind: type[LvpackError]
) -> None:
    run = Run(begun, monkeypatch, out=lambda _: False)

    def fails(_: str) -> NoReturn:
        raise error

    monkeypatch.setattr(ext, "check", fails)
    with pytest.raises(LvpackError) as raised:
        run()
    assert type(raised.value) is kind
