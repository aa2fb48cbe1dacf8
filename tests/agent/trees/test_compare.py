"""Damage made on purpose to a copy on XFS, each found when it is held against its original."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs_rebuild
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_agent.trees import extents, work

pytestmark = pytest.mark.starts_processes

SIZE, SMALL = 600 * MIB, 400 * MIB
DATA = bytes(range(256)) * 256


def plant(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/file").write_bytes(DATA)
    os.link(root / "a/file", root / "a/b/again")
    (root / "a/other").write_bytes(DATA)
    os.link(root / "a/other", root / "a/b/too")
    (root / "a/soft").symlink_to("nowhere")
    os.mkfifo(root / "a/fifo")
    os.mknod(root / "a/device", 0o20600, os.makedev(1, 3))
    (root / "a/small").write_text("words")
    with (root / "a/sparse").open("wb") as file:
        file.write(b"x")
        file.truncate(10 * MIB)
    with (root / "a/journal").open("wb") as file:
        extents.allocate(file.fileno(), 0, MIB)
        file.write(b"x" * 5000)
    run(["cp", "--reflink=always", root / "a/file", root / "a/shared"])
    os.setxattr(root / "a/small", "user.note", b"kept")
    os.setxattr(root / "a/b", "system.posix_acl_default", xfslab.ACL)
    xfslab.flagged(root / "a/other", "nodump", project=42)
    xfslab.flagged(root / "a", "extszinherit projinherit", project=7, hint=MIB)
    xfslab.flagged(root / "a/sparse", "immutable")
    os.utime(root / "a/soft", ns=(5, 6), follow_symlinks=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """An original, mounted, and the image of its copy, which is whole."""
    folder = tmp_path_factory.mktemp("pair")
    with (
        xfslab.memory(folder / "memory") as memory,
        xfslab.device(memory / "old", SIZE) as old,
    ):
        run(["mkfs.xfs", "-q", old])
        with xfslab.mounted(old, folder / "mounted") as root:
            plant(root)
        with xfslab.device(memory / "new", SMALL) as new:
            assert xfs_rebuild.rebuild(new, old, SMALL, folder, True, lambda: None) == []
        with xfslab.mounted(old, folder / "mounted", "ro") as root:
            yield root, memory / "new"


@pytest.fixture
def compared(pair: tuple[Path, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Harm a copy of the copy, and compare."""
    old, image = pair

    def compare(harm: Callable[[Path], object], contents: bool = True) -> list[str]:
        mine = image.with_name("harmed")
        run(["cp", "--sparse=always", image, mine])
        try:
            with xfslab.device(mine, SMALL) as device:
                with xfslab.mounted(device, tmp_path / "new") as root:
                    times = {p: (p.lstat().st_atime_ns, p.lstat().st_mtime_ns) for p in root.rglob("*")}
                    harm(root)
                    # Whoever does harm by accident does not set times, but what is tested is not that times tell.
                    for path, ns in times.items():
                        if path.name not in ("sparse", "soft") and os.path.lexists(path):
                            os.utime(path, ns=ns, follow_symlinks=False)
                with xfslab.mounted(device, tmp_path / "new", "ro") as root:
                    return work.compare_trees(str(old), str(root), contents, lambda: None)
        finally:
            mine.unlink()

    return compare


def write(path: Path, data: bytes, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def other(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def swapped(root: Path) -> None:
    """Swap two names of two files, which have two names each."""
    (root / "a/b/again").rename(root / "a/b/x")
    (root / "a/b/too").rename(root / "a/b/again")
    (root / "a/b/x").rename(root / "a/b/too")


def unlinked(root: Path) -> None:
    (root / "a/b/again").unlink()
    shutil.copy2(root / "a/file", root / "a/b/again")


def refilled(path: Path) -> None:
    """Take blocks from a file and write zeros in their place."""
    with path.open("r+b") as file:
        extents.punch(file.fileno(), 8192, 16384)
        os.pwrite(file.fileno(), bytes(8192), 8192)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda new: write(new / "a/file", b"\1", 256), "'/a/(file|b/again)' has other contents from byte 0 on"),
        (lambda new: write(new / "a/journal", b"y", 4999), "'/a/journal' has other contents"),
        (lambda new: write(new / "a/small", b"W", 0), "'/a/small' has other contents"),
        (lambda new: refilled(new / "a/other"), "'/a/(other|b/too)' has other contents from byte 0 on"),
        (lambda new: write(new / "a/shared", b"y", 9999), "'/a/shared' has other contents"),
        (lambda new: os.truncate(new / "a/journal", 4999), "'/a/journal' has 4,999 bytes, not 5,000"),
        (lambda new: (new / "a/small").unlink(), "'/a/small' is missing"),
        (lambda new: (new / "a/b/extra").touch(), "'/a/b/extra' is new"),
        (lambda new: (new / "a/small").chmod(0o4644), "'/a/small' has mode 4644, not 644"),
        (lambda new: os.chown(new / "a/b", 5, 6), "'/a/b' is 5:6's, not 0:0's"),
        (lambda new: other(new / "a/soft", lambda path: path.symlink_to("elsewhere")), "'/a/soft' points elsewhere"),
        (lambda new: other(new / "a/fifo", Path.touch), "'/a/fifo' is a file, not a FIFO"),
        (lambda new: other(new / "a/device", lambda p: os.mknod(p, 0o20600, os.makedev(1, 5))), "another device"),
        (unlinked, "has 1 links, not 2"),
        (swapped, "linked with other files"),
    ],
)
def test_a_copy_that_is_another_one_is_not_taken(
    compared: Callable[..., list[str]], harm: Callable[[Path], object], said: str
) -> None:
    with pytest.raises(Failed, match=f"cannot trust a copy: .*{said}"):
        compared(harm)


def rewritten(path: Path) -> None:
    """Write the same again, so that nothing is shared."""
    data = path.read_bytes()
    path.write_bytes(b"")
    path.write_bytes(data)


def filled(path: Path) -> None:
    """Fill a hole with zeros."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(4096), 500_000)
        os.truncate(file.fileno(), 5000)


def punched(path: Path) -> None:
    with path.open("r+b") as file:
        extents.punch(file.fileno(), 8192, MIB)


def test_what_differs_otherwise_is_said(compared: Callable[..., list[str]]) -> None:
    def harm(new: Path) -> None:
        os.removexattr(new / "a/small", "user.note")
        os.removexattr(new / "a/b", "system.posix_acl_default")
        rewritten(new / "a/shared")
        punched(new / "a/journal")
        xfslab.unflagged(new / "a/sparse", "immutable")
        xfslab.unflagged(new / "a/other", "nodump")
        xfslab.flagged(new / "a/other", "", project=43)
        xfslab.flagged(new / "a", "", hint=2 * MIB)
        os.utime(new / "a/soft", ns=(4, 7), follow_symlinks=False)

    found = compared(harm)
    for said in (
        "'/a/small' differs in the extended attribute user.note",
        "'/a/b' differs in the extended attribute system.posix_acl_default",
        " differ in sharing of blocks with other files",
        "'/a/journal' differs in holes and preallocated blocks",
        "'/a/sparse' differs in the flag immutable",
        " the flag nodump",
        " the project",
        "'/a' differs in the hint extsize",
        "'/a/soft' differs in the time of modification",
        "'/a/soft' differs in the time of access",
    ):
        assert any(said in line for line in found), (said, found)


def test_a_name_that_cannot_be_printed_is_named(compared: Callable[..., list[str]]) -> None:
    with pytest.raises(Failed, match=r"cannot trust a copy: '/a/\\udcff\\nü' is new"):
        compared(lambda new: (new / os.fsdecode(b"a/\xff\n\xc3\xbc")).touch())


def test_a_hole_that_was_filled_is_said(compared: Callable[..., list[str]]) -> None:
    assert compared(lambda new: filled(new / "a/journal")) == ["'/a/journal' differs in holes and preallocated blocks"]


def test_contents_that_are_not_read_back_are_not_looked_at(compared: Callable[..., list[str]]) -> None:
    assert compared(lambda new: write(new / "a/small", b"W", 0), contents=False) == []


def test_many_differences_are_counted(compared: Callable[..., list[str]]) -> None:
    with pytest.raises(Failed, match=r"is new; .* is new; .* is new; and 7 more differences"):
        compared(lambda new: [(new / f"extra{n}").touch() for n in range(10)])
