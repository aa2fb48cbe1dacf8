"""What a backup that ends badly leaves on the share, and what it never does there."""

import json
import os
import stat
from pathlib import Path

import pytest

from lvpack_agent import places
from lvpack_agent.backup.failed_log import FIRST, left_if_bad
from lvpack_agent.backup.job import Job
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.report import parse_result
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse
from lvpack_agent.undo import Undo
from tests.agent.builders.shares import folder_share

NAME = "one.failed.log"


@pytest.fixture(autouse=True)
def leaves(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("run") / "leaves"
    monkeypatch.setattr(places, "LEAVES", path)
    monkeypatch.setattr(places, "LOG", path.with_name("agent.log"))
    return path


def test_another_agent_can_leave_it_as_long_as_the_run_lasts(tmp_path: Path, leaves: Path) -> None:
    with left_if_bad(job(tmp_path, "lvpack.name=one", "lvpack.readers=group")):
        assert json.loads(leaves.read_text()) == {"name": "one", "readers": "group"}
    assert not leaves.exists()
    fail(job(tmp_path))
    assert not leaves.exists()


def job(share: Path, *words: str) -> Job:
    """A backup to a share whose log is in memory."""
    settings = parse(["lvpack.target=nfs://h/e", *words])
    assert settings
    lines: list[str] = []
    session = Session(action="backup", out=lines.append, logged=lambda: "\n".join(lines), name=settings.name)
    return Job(settings=settings, session=session, shared=folder_share(share), folder=share)


def fail(one: Job, error: BaseException | None = None) -> None:
    with pytest.raises((Failed, Refused)), left_if_bad(one):
        raise error or Failed("cannot merge", hint="look at the disk")


def test_log_and_result_are_left_with_what_failed_while_cleaning_up(tmp_path: Path) -> None:
    one = job(tmp_path, "lvpack.name=one")
    one.session.say("source: a disk")
    one.session.warn("it is old")

    def unmount() -> None:
        raise Failed("cannot unmount")

    with pytest.raises(Failed, match="cannot merge"), left_if_bad(one), Undo() as undo:
        undo.callback(unmount)
        raise Failed("cannot merge", hint="look at the disk")
    text = (tmp_path / NAME).read_text()
    assert text.startswith(FIRST)
    for words in ("failed: cannot merge\n  look at the disk", "source: a disk", "while cleaning up: cannot unmount"):
        assert words in text
    report = parse_result(text.splitlines()[-1])
    assert (report.status, report.name, report.warnings) == ("failed", "one", ("it is old",))
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208


def test_a_group_may_read_it_if_it_may_read_sets(tmp_path: Path) -> None:
    fail(job(tmp_path, "lvpack.name=one", "lvpack.readers=group"), Refused("cannot"))
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o640
    assert "refused: cannot" in (tmp_path / NAME).read_text()


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_whatever_ended_the_run(tmp_path: Path, error: BaseException) -> None:
    fail(job(tmp_path, "lvpack.name=one"), error)
    assert "failed: cannot finish backup: " in (tmp_path / NAME).read_text()


def test_before_a_name_is_known_it_is_lvpacks(tmp_path: Path) -> None:
    one = job(tmp_path)
    fail(one)
    [path] = tmp_path.iterdir()
    assert path.match("lvpack-2???????T??????Z.failed.log")
    one.session.called = "web-20261128T000000Z.again"
    fail(one)
    fail(one)
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "web-20261128T000000Z.again.failed.log").exists()


def test_a_later_run_replaces_it_and_a_good_one_removes_it(tmp_path: Path) -> None:
    one = job(tmp_path, "lvpack.name=one")
    fail(one)
    fail(one, Failed("cannot resize"))
    assert "cannot resize" in (tmp_path / NAME).read_text()
    with left_if_bad(one):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_others_is_written_through_or_removed(tmp_path: Path) -> None:
    one = job(tmp_path, "lvpack.name=one")
    (tmp_path / "victim").write_text("precious")
    for plant in (
        lambda: (tmp_path / NAME).symlink_to("victim"),
        lambda: (tmp_path / NAME).write_text("notes"),
        lambda: (tmp_path / NAME).mkdir(),
        lambda: os.mkfifo(tmp_path / NAME),
    ):
        plant()
        before = (tmp_path / NAME).lstat()
        fail(one)
        [other] = tmp_path.glob("one-2*.failed.log")
        assert other.read_text().startswith(FIRST)
        with left_if_bad(one):
            pass
        assert (tmp_path / NAME).lstat() == before
        assert (tmp_path / "victim").read_text() == "precious"
        other.unlink()
        (tmp_path / NAME).rmdir() if (tmp_path / NAME).is_dir() else (tmp_path / NAME).unlink()


def test_a_share_that_takes_nothing_is_a_warning_and_the_error_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(tmp_path, "lvpack.name=one")
    monkeypatch.setattr("lvpack_agent.guarded.write", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(Failed, match="cannot merge"), left_if_bad(one):
        raise Failed("cannot merge")
    assert one.session.warnings == ["cannot leave the log of this run on the share as 'one.failed.log': No space"]
    assert list(tmp_path.iterdir()) == []
