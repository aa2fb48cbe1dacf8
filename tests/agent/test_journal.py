"""The journal: found by the VG and the disk, whole at any moment, told by what it holds, one machine's at a time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.backup import claim, journal
from lvpack_agent.backup.journal import Journal, Merge, Record
from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.inplace import run as inplace
from lvpack_agent.inplace import steps
from lvpack_agent.plan.make import make_plan
from tests.agent.builders.layouts import MARGIN, blog_layout

PLACE = ("U-1", "WD 1")


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Iterator[Journal]:
    layout, share = tmp_path / "layout", tmp_path / "share"
    layout.mkdir()
    (layout / "plan.txt").write_text("a plan\n")
    share.mkdir()
    planned = make_plan(blog_layout(blog), MARGIN)
    record = Record(
        schema=journal.SCHEMA,
        lvpack="0.0.1",
        created="now",
        name="one",
        vg="vg1",
        vg_uuid="U-1",
        disk="WD 1",
        plan=planned,
        unclean=("LV var",),
        steps=steps.form(steps.shrinking(planned, ("LV var",)) + steps.regrowing(planned)),
    )
    folder = journal.folder(share, *PLACE)
    with claim.held(folder, print) as held:
        yield journal.begin(folder, held, record, layout)


def found_again(begun: Journal) -> Journal | None:
    return journal.find(begun.folder, begun.claim)


def test_a_later_boot_finds_all_of_it_whatever_its_version_is(begun: Journal) -> None:
    begun.advance(done=3, merge=Merge(before=("b",), after=("a",), store="t", size=7))
    found = found_again(begun)
    assert found is not None
    assert found.record == begun.record
    assert found.progress == begun.progress
    assert (found.folder / "layout/plan.txt").read_text() == "a plan\n"
    planned = found.record.plan
    again = steps.shrinking(planned, found.record.unclean) + steps.regrowing(planned)
    assert steps.form(again) == found.record.steps
    assert steps.form(again[1:]) != found.record.steps


def test_clones_have_folders_of_their_own(tmp_path: Path) -> None:
    disks = ("WD 1", "WD-1", "WD/1", "x" * 99, "x" * 98, "of machine unknown", "é")
    folders = {journal.folder(tmp_path, "U-1", disk) for disk in disks}
    assert len(folders) == len(disks)
    assert all(folder.parent == tmp_path and folder.name.startswith("inplace-U-1-") for folder in folders)


def test_overlay_mode_is_refused_until_it_is_finished(begun: Journal) -> None:
    share = begun.folder.parent
    with pytest.raises(Refused, match="not finished"):
        journal.refuse_unfinished(share, *PLACE)
    journal.refuse_unfinished(share, "U-1", "a clone's disk")
    (begun.folder / journal.RECORD).write_text("{")
    with pytest.raises(Refused, match="not finished"):
        journal.refuse_unfinished(share, *PLACE)
    journal.refuse_unfinished(share, "U-1", "a clone's disk")


def test_what_is_finished_gives_way(begun: Journal) -> None:
    share = begun.folder.parent
    begun.advance(finished="later")
    journal.refuse_unfinished(share, *PLACE)
    assert journal.unfinished(share, "U-1") == []
    (begun.folder / "store-1").touch()
    again = journal.begin(begun.folder, begun.claim, replace(begun.record, name="two"), share.parent / "layout")
    assert not (again.folder / "store-1").exists()
    found = found_again(begun)
    assert found and (found.record.name, found.progress.finished) == ("two", "")
    begun.claim.check()


def test_what_was_cut_off_before_the_record_is_nothing(begun: Journal) -> None:
    (begun.folder / journal.RECORD).unlink()
    assert found_again(begun) is None


def test_a_run_that_wrote_nothing_leaves_nothing(begun: Journal) -> None:
    begun.discard()
    begun.claim.release()
    assert list(begun.folder.parent.iterdir()) == []


def test_a_folder_that_changed_hands_is_not_cleared(begun: Journal) -> None:
    (begun.folder / "claim-000002").write_text("another's")
    (begun.folder / "store-2").touch()
    begun.discard()
    with pytest.raises(Disagreement, match="another machine"):
        journal.begin(begun.folder, begun.claim, begun.record, begun.folder / "layout")
    assert {"journal.json", "progress.json", "store-2"} <= {path.name for path in begun.folder.iterdir()}


def test_lost_progress_is_not_taken_for_no_progress(begun: Journal) -> None:
    (begun.folder / journal.PROGRESS).unlink()
    with pytest.raises(Failed, match=r"progress\.json is missing"):
        found_again(begun)


def test_a_folder_that_another_machine_took_is_not_written(begun: Journal) -> None:
    [path] = begun.folder.glob("claim-*")
    path.unlink()
    with pytest.raises(Disagreement, match="another machine"):
        begun.advance(done=1)
    found = found_again(begun)
    assert found and found.progress.done == 0


def test_damage_and_other_schemas_are_not_guessed_at(begun: Journal) -> None:
    path = begun.folder / journal.RECORD
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema": 3}))
    with pytest.raises(Refused, match=r"lvpack 0\.0\.1 began it"):
        found_again(begun)
    for text in (json.dumps({**data, "plan": None}), "[]", "[" * 99999, "\0"):
        path.write_text(text)
        with pytest.raises(Failed, match="cannot read the journal"):
            found_again(begun)
    path.write_text(json.dumps(data))
    (begun.folder / journal.PROGRESS).write_text('{"done": ')
    with pytest.raises(Failed, match="cannot read the journal"):
        found_again(begun)


def refuse_in_overlay_mode(share: Path, vg_uuid: str) -> None:
    journal.refuse_unfinished(share, vg_uuid, "WD 2")


def test_a_disk_with_another_name_is_known_by_what_was_done_to_it(begun: Journal) -> None:
    planned = begun.record.plan
    states = steps.states(planned.source.vgs[0], steps.shrinking(planned, begun.record.unclean))
    last = len(states) - 1
    assert inplace.is_as_left(states[last], begun.record, last)
    assert inplace.is_as_left(states[last], begun.record, last - 1), "done, and not yet written down"
    assert not inplace.is_as_left(states[last], begun.record, 0)
    assert not inplace.is_as_left(states[0], begun.record, 0), "as every clone is"


def test_a_journal_of_0_1_0_is_never_ignored(tmp_path: Path) -> None:
    former = tmp_path / "inplace-U-1"
    former.mkdir()
    journal.refuse_former(tmp_path, "U-1")
    record = {"schema": 1, "lvpack": "0.1.0", "vg": "vg1", "vg_uuid": "U-1", "disk": "WD 1"}
    (former / journal.RECORD).write_text(json.dumps(record))
    for progress in (None, {"done": 4}):
        if progress:
            (former / journal.PROGRESS).write_text(json.dumps(progress))
        for refuse in (journal.refuse_former, refuse_in_overlay_mode):
            with pytest.raises(Refused, match=r"lvpack 0\.1\.0 began .*'inplace-U-1'.*not finished"):
                refuse(tmp_path, "U-1")
    (former / journal.PROGRESS).write_text('{"done": 9, "finished": "then"}')
    journal.refuse_unfinished(tmp_path, "U-1", "WD 1")
