"""The journal: found by the VG and the disk, whole at any moment, told by what it holds, one machine's at a time."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.backup import journal, journal_read, journal_record, journal_refuse
from lvpack_agent.backup.journal import Journal
from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.inplace import procedure
from tests.agent.builders.journals import PLACE, begun_journal
from tests.agent.builders.oddities import ODD_JSON, spoil


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Iterator[Journal]:
    with begun_journal(blog, tmp_path) as journal:
        yield journal


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
    again = procedure.shrinking(planned, found.record.unclean) + procedure.regrowing(planned)
    assert procedure.form(again) == found.record.steps
    assert procedure.form(again[1:]) != found.record.steps


def test_clones_have_folders_of_their_own(tmp_path: Path) -> None:
    disks = ("WD 1", "WD-1", "WD/1", "x" * 99, "x" * 98, "of machine unknown", "é")
    folders = {journal_read.folder(tmp_path, "U-1", disk) for disk in disks}
    assert len(folders) == len(disks)
    assert all(folder.parent == tmp_path and folder.name.startswith("inplace-U-1-") for folder in folders)


def test_overlay_mode_is_refused_until_it_is_finished(begun: Journal) -> None:
    share = begun.folder.parent
    with pytest.raises(Refused, match="not finished"):
        journal_refuse.refuse_unfinished(share, *PLACE)
    journal_refuse.refuse_unfinished(share, "U-1", "a clone's disk")
    (begun.folder / journal_record.RECORD).write_text("{")
    with pytest.raises(Refused, match="not finished"):
        journal_refuse.refuse_unfinished(share, *PLACE)
    journal_refuse.refuse_unfinished(share, "U-1", "a clone's disk")


def test_what_is_finished_gives_way(begun: Journal) -> None:
    share = begun.folder.parent
    begun.advance(finished="later")
    journal_refuse.refuse_unfinished(share, *PLACE)
    assert journal_read.unfinished(share, "U-1") == []
    (begun.folder / "store-1").touch()
    again = journal.begin(begun.folder, begun.claim, replace(begun.record, name="two"), share.parent / "layout")
    assert not (again.folder / "store-1").exists()
    found = found_again(begun)
    assert found and (found.record.name, found.progress.finished) == ("two", "")
    begun.claim.check()


def test_what_was_cut_off_before_the_record_is_nothing(begun: Journal) -> None:
    (begun.folder / journal_record.RECORD).unlink()
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
    (begun.folder / journal_record.PROGRESS).unlink()
    with pytest.raises(Failed, match=r"progress\.json is missing"):
        found_again(begun)


def test_a_folder_that_another_machine_took_is_not_written(begun: Journal) -> None:
    [path] = begun.folder.glob("claim-*")
    other = path.rename(path.with_name("claim-000002"))
    with pytest.raises(Disagreement, match="another machine"):
        begun.advance(done=1)
    other.unlink()
    found = found_again(begun)
    assert found and found.progress.done == 0


def test_damage_and_other_schemas_are_not_guessed_at(begun: Journal) -> None:
    path = begun.folder / journal_record.RECORD
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema": 3}))
    with pytest.raises(Refused, match=r"lvpack 0\.0\.1 began it"):
        found_again(begun)
    for text in (json.dumps({**data, "plan": None}), "[]", "[" * 99999, "\0"):
        path.write_text(text)
        with pytest.raises(Failed, match="cannot read the journal"):
            found_again(begun)
    for part in ("source", "target"):
        other = {**data, "plan": {**data["plan"], part: {**data["plan"][part], "vgs": []}}}
        path.write_text(json.dumps(other))
        with pytest.raises(Failed, match="contradicts itself: its LVs are not those of the source"):
            found_again(begun)
    path.write_text(json.dumps(data))
    (begun.folder / journal_record.PROGRESS).write_text('{"done": ')
    with pytest.raises(Failed, match="cannot read the journal"):
        found_again(begun)


@pytest.mark.parametrize("name", [journal_record.RECORD, journal_record.PROGRESS])
@pytest.mark.parametrize(("kind", "cause"), ODD_JSON.items())
def test_whatever_stands_for_a_file_of_it_is_named(begun: Journal, name: str, kind: str, cause: str) -> None:
    spoil(begun.folder / name, kind)
    with pytest.raises(Failed, match=f"cannot read the journal .*{name}: .*{cause}"):
        found_again(begun)
    assert journal_read.unfinished(begun.folder.parent, PLACE[0]) == [begun.folder], "in doubt it is not finished"


def test_what_is_planted_beside_it_is_not_written_through(begun: Journal, tmp_path: Path) -> None:
    victim = tmp_path / "disk"
    victim.write_text("a partition table")
    for plant in (
        lambda path: path.symlink_to(victim),
        lambda path: path.hardlink_to(victim),
        lambda path: os.mkfifo(path),
    ):
        plant(begun.folder / "progress.new")
        begun.advance(done=begun.progress.done + 1)
        assert victim.read_text() == "a partition table"
        found = found_again(begun)
        assert found and found.progress.done == begun.progress.done


def test_only_the_owner_reads_it(begun: Journal) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (begun.folder, *begun.folder.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in begun.folder.rglob("*") if path.is_file()}
    assert modes == {0o600}


def refuse_in_overlay_mode(share: Path, vg_uuid: str) -> None:
    journal_refuse.refuse_unfinished(share, vg_uuid, "WD 2")


def test_a_journal_of_0_1_0_is_never_ignored(tmp_path: Path) -> None:
    former = tmp_path / "inplace-U-1"
    former.mkdir()
    journal_refuse.refuse_former(tmp_path, "U-1")
    record = {"schema": 1, "lvpack": "0.1.0", "vg": "vg1", "vg_uuid": "U-1", "disk": "WD 1"}
    (former / journal_record.RECORD).write_text(json.dumps(record))
    for progress in (None, {"done": 4}):
        if progress:
            (former / journal_record.PROGRESS).write_text(json.dumps(progress))
        for refuse in (journal_refuse.refuse_former, refuse_in_overlay_mode):
            with pytest.raises(Refused, match=r"lvpack 0\.1\.0 began .*'inplace-U-1'.*not finished"):
                refuse(tmp_path, "U-1")
    (former / journal_record.PROGRESS).write_text('{"done": 9, "finished": "then"}')
    journal_refuse.refuse_unfinished(tmp_path, "U-1", "WD 1")


def test_a_journal_is_as_it_was_written(begun: Journal) -> None:
    begun.advance(done=3)
    assert not begun.mend()
    found = found_again(begun)
    assert found and not found.mend()


@pytest.mark.parametrize("lost", [journal_record.RECORD, journal_record.PROGRESS, "the last step", "the end of a file"])
def test_what_a_server_acknowledged_and_lost_is_written_anew(begun: Journal, lost: str) -> None:
    before = (begun.folder / journal_record.PROGRESS).read_text()
    begun.advance(done=3)
    if lost == "the last step":
        (begun.folder / journal_record.PROGRESS).write_text(before)
    elif lost == "the end of a file":
        (begun.folder / journal_record.RECORD).write_text("{")
    else:
        (begun.folder / lost).unlink()
    assert begun.mend() and not begun.mend()
    found = found_again(begun)
    assert found and (found.record, found.progress.done) == (begun.record, 3)
