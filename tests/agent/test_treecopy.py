"""A copy beside its original: what can be given back is, and nothing that differs passes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_agent.treecopy import Incomplete, settle

pytestmark = pytest.mark.starts_processes


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    old = tmp_path / "old"
    (old / "a/b").mkdir(parents=True)
    (old / "a/b/file").write_text("words")
    os.link(old / "a/b/file", old / "a/again")
    (old / "a/soft").symlink_to("nowhere")
    (old / os.fsdecode(b"\xff")).write_text("not UTF-8")
    os.setxattr(old / "a/b/file", "user.note", b"kept \0 whole")
    for path, at in ((old / "a/b/file", 5), (old / "a/soft", -7), (old / "a", 1 << 62), (old, 9)):
        os.utime(path, ns=(at, at + 123), follow_symlinks=False)
    new = tmp_path / "new"
    run(["cp", "-a", old, new])
    return old, new


def test_times_and_xattrs_are_given_back(trees: tuple[Path, Path]) -> None:
    old, new = trees
    for folder, folders, files in os.walk(os.fsencode(new)):
        for name in (b".", *folders, *files):
            os.utime(folder + b"/" + name, follow_symlinks=False)
    os.removexattr(new / "a/again", "user.note")
    os.setxattr(new / "a", "user.new", b"nobody asked for it")
    settle(old, new, lambda: None)
    for path in ("a/b/file", "a/soft", "a", "a/b", "."):
        assert (new / path).lstat().st_mtime_ns == (old / path).lstat().st_mtime_ns, path
    assert os.getxattr(new / "a/b/file", "user.note") == b"kept \0 whole"
    assert os.listxattr(new / "a") == []


def test_an_immutable_file_gets_its_times(trees: tuple[Path, Path]) -> None:
    old, new = trees
    file = "a/b/file"
    os.utime(new / file)
    run(["chattr", "+i", old / file, new / file])
    try:
        settle(old, new, lambda: None)
        assert (new / file).stat().st_mtime_ns == 128
        with pytest.raises(OSError, match="not permitted"):
            os.utime(new / file)
    finally:
        run(["chattr", "-i", old / file, new / file])


def other_owner(new: Path) -> None:
    os.chown(new / "a/b/file", 5, 6)


def unlinked(new: Path) -> None:
    (new / "a/again").unlink()
    shutil.copy2(new / "a/b/file", new / "a/again")
    os.link(new / "a/b/file", new / "a/third")
    (new / "a/third").rename(new / "third")


@pytest.mark.parametrize(
    "harm",
    [
        lambda new: (new / "a/b/file").unlink(),
        lambda new: (new / "extra").touch(),
        lambda new: (new / "a/b/file").write_text("other words"),
        lambda new: (new / "a/b").chmod(0o700),
        lambda new: ((new / "a/soft").unlink(), (new / "a/soft").symlink_to("elsewhere")),
        other_owner,
        unlinked,
    ],
)
def test_what_differs_does_not_pass(trees: tuple[Path, Path], harm: Callable[[Path], object]) -> None:
    old, new = trees
    harm(new)
    with pytest.raises(Failed, match="cannot trust"):
        settle(old, new, lambda: None)


def test_a_file_that_is_missing_is_named(trees: tuple[Path, Path]) -> None:
    old, new = trees
    (new / "a/soft").unlink()
    with pytest.raises(Incomplete, match="lacks '/a/soft'"):
        settle(old, new, lambda: None)
