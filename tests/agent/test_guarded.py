"""Files where others may write: nothing is followed, waited for, read without end or written over."""

import os
import stat
from pathlib import Path

import pytest

from lvpack_agent import guarded
from tests.agent.builders.oddities import ODD, ODD_JSON, spoil

pytestmark = pytest.mark.timeout(30)
LIMIT = 1000


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(("kind", "cause"), ODD.items())
def test_only_files_of_a_proper_size_are_opened(tmp_path: Path, kind: str, cause: str) -> None:
    spoil(tmp_path / "x", kind)
    with pytest.raises(guarded.Odd, match=cause):
        guarded.opened(tmp_path / "x", LIMIT)
    with pytest.raises(guarded.Odd, match=r"it has|not a file"):
        guarded.read_bytes(tmp_path / "x", LIMIT, follow=True)


@pytest.mark.parametrize(("kind", "cause"), ODD_JSON.items())
def test_whatever_stands_for_json_has_a_cause(tmp_path: Path, kind: str, cause: str) -> None:
    spoil(tmp_path / "x", kind)
    with pytest.raises((OSError, ValueError), match=cause):
        guarded.read_object(tmp_path / "x", 1 << 30 if kind == "deep" else LIMIT)


def test_folders_on_the_way_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "set/layout").mkdir(parents=True)
    (tmp_path / "set/layout/x").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_text("yours")
    (tmp_path / "set/moved").symlink_to("../other")
    assert guarded.read_bytes(tmp_path / "set/layout/x", LIMIT, top=tmp_path / "set") == b"mine"
    with pytest.raises(NotADirectoryError):
        guarded.opened(tmp_path / "set/moved/x", top=tmp_path / "set")
    with pytest.raises(NotADirectoryError):
        guarded.create(tmp_path / "set/moved/y", top=tmp_path / "set")
    assert os.listdir(tmp_path / "other") == ["x"]  # noqa: PTH208
    # Whoever names a set may name it by a link.
    (tmp_path / "latest").symlink_to("set")
    assert guarded.read_bytes(tmp_path / "latest/layout/x", LIMIT, top=tmp_path / "latest") == b"mine"


def test_a_file_that_grows_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("a")
    monkeypatch.setattr("os.read", lambda fd, count: b"x" * 600)
    with pytest.raises(guarded.Odd, match="more than 1,000"):
        guarded.read_bytes(tmp_path / "x", LIMIT)


@pytest.mark.parametrize("kind", ["link", "fifo", "huge"])
def test_what_is_planted_is_removed_and_not_written_through(tmp_path: Path, kind: str) -> None:
    spoil(tmp_path / "x", kind)
    if kind == "link":
        (tmp_path / "victim").write_text("precious")
        (tmp_path / "x").unlink()
        (tmp_path / "x").symlink_to("victim")
    with pytest.raises(FileExistsError):
        guarded.create(tmp_path / "x")
    guarded.write(tmp_path / "x", b"new")
    assert (tmp_path / "x").is_file() and not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").read_text() == "new"
    if kind == "link":
        assert (tmp_path / "victim").read_text() == "precious"


def test_what_has_another_name_keeps_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x").hardlink_to(tmp_path / "victim")
    guarded.write(tmp_path / "x", b"new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_nothing_is_written_that_would_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(guarded.Odd, match="it has 1,001 bytes, and no such file has more than 1,000"):
        guarded.write(tmp_path / "x", b"x" * 1001, limit=LIMIT)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o750, 0o640), (0o705, 0o600)])
def test_who_may_enter_a_folder_may_read_its_files(tmp_path: Path, folder: int, file: int) -> None:
    guarded.make_folder(tmp_path / "set", folder)
    assert mode(tmp_path / "set") == folder
    guarded.write(tmp_path / "set/layout/x", b"", top=tmp_path / "set")
    assert mode(tmp_path / "set/layout") == (0o750 if file == 0o640 else 0o700)
    assert mode(tmp_path / "set/layout/x") == file


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a folder to any group")
@pytest.mark.parametrize(("folder", "group"), [(0o700, 0), (0o750, 4321)])
def test_the_group_is_that_of_the_folder_above(tmp_path: Path, folder: int, group: int) -> None:
    os.chown(tmp_path, -1, 4321)
    guarded.make_folder(tmp_path / "set", folder)
    guarded.write(tmp_path / "set/layout/x", b"", top=tmp_path / "set")
    paths = [tmp_path / "set", tmp_path / "set/layout", tmp_path / "set/layout/x"]
    assert [path.stat().st_gid for path in paths] == [group] * 3


def test_a_folder_of_an_older_version_is_closed_and_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(0o755)
    guarded.keep_private(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o700
    (tmp_path / "link").symlink_to("old")
    with pytest.raises(guarded.Odd, match="it is a link, not a folder"):
        guarded.keep_private(tmp_path / "link")


def test_what_is_to_be_tried_again_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a file on a share by SMB whose server was started anew: EAGAIN, or None of a Python file."""
    monkeypatch.setattr(guarded, "AGAIN_SECONDS", 0.0)
    answers: list[object] = [None, BlockingIOError(11, "Resource temporarily unavailable"), b""]

    def action() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert guarded.patiently(action) == b"" and not answers
    answers[:] = [OSError(5, "Input/output error")]
    with pytest.raises(OSError, match="Input/output error"):
        guarded.patiently(action)
