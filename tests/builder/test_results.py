"""The results of end-to-end tests that are kept: how they are written, read, and shown."""

from pathlib import Path

import pytest

from lab.results import UNKNOWN, Result, read, state, table, write
from lvpack_agent.processes import run

OLD = Result(state="1a", date="2026-01-01 10:00:00", outcome="passed", seconds=100.0, cpu=90.0)
ONE = Result(state="2b", date="2026-01-01 12:00:00", outcome="passed", seconds=10.0, cpu=5.0)
TWO = Result(state="2b", date="2026-01-01 11:00:00", outcome="failed", seconds=20.0, cpu=6.0)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read(path) == {}
    write(path, {"one": ONE, "two": TWO})
    assert read(path) == {"one": ONE, "two": TWO}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_table_has_what_ran_with_the_same_files_in_its_order() -> None:
    first, second, last = table({"old": OLD, "one": ONE, "two": TWO}, "2b")
    assert first.endswith("two") and "11:00:00  failed" in first and "20 s" in first
    assert second.endswith("one") and "12:00:00  passed" in second
    assert last == "2 tests at 2b: 1 failed; 30 s one after the other, 11 s CPU"


@pytest.mark.starts_processes
def test_a_state_is_the_commit_and_what_was_changed_since(tmp_path: Path) -> None:
    assert state(tmp_path) == UNKNOWN
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    run([*git, "init", "--quiet", tmp_path])
    (tmp_path / "file").write_text("one\n")
    run([*git, "add", "file"], cwd=tmp_path)
    run([*git, "commit", "--quiet", "--message", "one"], cwd=tmp_path)
    clean = state(tmp_path)
    (tmp_path / "file").write_text("two\n")
    changed = state(tmp_path)
    (tmp_path / "new").write_text("three\n")
    states = [clean, changed, state(tmp_path)]
    assert len(set(states)) == 3 and all(s.startswith(clean) for s in states)
    (tmp_path / "new").unlink()
    assert state(tmp_path) == changed
    (tmp_path / "file").write_text("one\n")
    assert state(tmp_path) == clean
