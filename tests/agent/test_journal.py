"""The journal: found by the VG's UUID, whole at any moment, and only by the version that began it."""

import json
from pathlib import Path

import pytest

from lvpack_agent import VERSION, journal
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.journal import Journal, Merge, Record
from lvpack_agent.plan import make_plan
from tests.agent.test_plan import MARGIN, blog_layout


@pytest.fixture
def begun(blog: Path, tmp_path: Path) -> Journal:
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "plan.txt").write_text("a plan\n")
    (tmp_path / "share").mkdir()
    record = Record(
        schema=journal.SCHEMA,
        lvpack=VERSION,
        created="now",
        name="one",
        vg="vg1",
        vg_uuid="U-1",
        disk="WD-1",
        plan=make_plan(blog_layout(blog), MARGIN),
        unclean=("LV var",),
    )
    return journal.begin(tmp_path / "share", record, layout)


def test_a_later_boot_finds_all_of_it(begun: Journal) -> None:
    share = begun.folder.parent
    begun.advance(done=3, merge=Merge(before=("b",), after=("a",), store="t", size=7))
    found = journal.find(share, "U-1")
    assert found is not None
    assert found.record == begun.record
    assert found.progress == begun.progress
    assert (found.folder / "layout/plan.txt").read_text() == "a plan\n"
    assert journal.find(share, "U-2") is None


def test_overlay_mode_is_refused_until_it_is_finished(begun: Journal) -> None:
    share = begun.folder.parent
    with pytest.raises(Refused, match="not finished"):
        journal.refuse_unfinished(share, "U-1")
    begun.advance(finished="later")
    journal.refuse_unfinished(share, "U-1")


def test_what_was_cut_off_before_the_record_is_nothing(begun: Journal) -> None:
    (begun.folder / journal.RECORD).unlink()
    assert journal.find(begun.folder.parent, "U-1") is None


def test_damage_and_other_versions_are_not_guessed_at(begun: Journal) -> None:
    share, path = begun.folder.parent, begun.folder / journal.RECORD
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "lvpack": "0.0.1"}))
    with pytest.raises(Refused, match=r"lvpack 0\.0\.1 began it"):
        journal.find(share, "U-1")
    path.write_text(json.dumps({**data, "plan": None}))
    with pytest.raises(Failed, match="cannot read the journal"):
        journal.find(share, "U-1")
    path.write_text(json.dumps(data))
    (begun.folder / journal.PROGRESS).write_text('{"done": ')
    with pytest.raises(Failed, match="cannot read the journal"):
        journal.find(share, "U-1")
