"""Trees on XFS by the dice: a filesystem made anew has all of the original, by the comparison and by other tools.

A copy is compared by what copied it, so another description of both trees, by xfs_bmap(8) and bulkstat, is held against
that. LVPACK_TREES is how many trees are made, 200 for a full proof.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs, xfs_files, xfs_rebuild
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, MIB
from lvpack_agent.trees import copy, extents, work

pytestmark = pytest.mark.starts_processes

TREES = int(os.environ.get("LVPACK_TREES", "8"))
# What mkfs.xfs is told, whether files can share blocks there, and whether times go to 2486.
KINDS = (
    ((), True, True),
    (("-m", "rmapbt=1", "-i", "nrext64=1"), True, True),
    (("-b", "size=1024"), True, True),
    (("-m", "reflink=0,bigtime=0,inobtcount=0"), False, False),
    (("-b", "size=16384"), True, True),
    (("-m", "finobt=0,reflink=0", "-i", "sparse=0", "-n", "size=8192"), False, True),
)
SIZE, SMALL = 2 * GIB, 400 * MIB
# Files in one folder.
MANY = 5000 if TREES < 200 else 100_000


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with xfslab.memory(tmp_path_factory.mktemp("memory")) as folder:
        yield folder


@pytest.mark.parametrize("number", range(TREES))
def test_a_copy_is_the_tree_that_was(number: int, images: Path, tmp_path: Path) -> None:
    options, reflink, late = KINDS[number % len(KINDS)]
    with (
        xfslab.device(images / f"old{number}", SIZE) as old,
        xfslab.device(images / f"new{number}", SMALL) as new,
    ):
        run(["mkfs.xfs", "-q", *options, old])
        with xfslab.mounted(old, tmp_path / "mounted") as root:
            xfslab.Dice(root, number, reflink=reflink, v5=True, late=late).tree(60)
        _, written = xfs_rebuild.estimated(old)
        assert xfs_rebuild.rebuild(new, old, SMALL, tmp_path, True, lambda: None) == []
        xfs.check(new)
        with (
            xfslab.mounted(old, tmp_path / "was", "ro") as was,
            xfslab.mounted(new, tmp_path / "is", "ro") as now,
        ):
            before, after = xfslab.described(was), xfslab.described(now)
            assert work.compare_trees(str(was), str(now), False, lambda: None) == []
        for path in {**before, **after}:
            assert after.get(path) == xfslab.forgiven(path, before.get(path), after.get(path)), path
        blocks = (images / f"new{number}").stat().st_blocks * 512
        assert blocks < written
    for image in ("old", "new"):
        (images / f"{image}{number}").unlink()


def test_what_was_never_written_means_nothing(images: Path, tmp_path: Path) -> None:
    with xfslab.device(images / "old", SMALL) as old:
        run(["mkfs.xfs", "-q", old])
        with xfslab.mounted(old, tmp_path / "mounted") as root:
            xfslab.Dice(root, 5, reflink=True, v5=True, late=True).tree(150)
        with xfslab.mounted(old, tmp_path / "mounted", "ro") as root:
            before = xfslab.described(root)
        parts = xfs_files.look(old).preallocated
        assert len(parts) > 5
        with Path(old).open("r+b") as file:
            for part in parts:
                os.pwrite(file.fileno(), b"x" * part.count, part.start)
        xfs.check(old)
        with xfslab.mounted(old, tmp_path / "mounted", "ro") as root:
            assert xfslab.described(root) == before
    (images / "old").unlink()


def grown(root: Path) -> None:
    """Make what takes room in every way: small files, names, attributes, shared and preallocated blocks."""
    data = random.Random(1).randbytes(MIB)
    for folder in range(8):
        (root / f"folder{folder}").mkdir()
        for number in range(500):
            path = root / f"folder{folder}/file with a name of some length {number}"
            path.write_bytes(data[:number])
            if not number % 5:
                os.setxattr(path, "user.note", data[: number * 4])
    (root / "large").write_bytes(data * 100)
    for number in range(3):
        run(["cp", "--reflink=always", root / "large", root / f"shared{number}"])
        with (root / f"shared{number}").open("r+b") as file:
            for at in range(number, 100, 7):
                os.pwrite(file.fileno(), data[:4096], at * MIB)
    with (root / "preallocated").open("wb") as file:
        extents.allocate(file.fileno(), 0, 200 * MIB)
        file.write(data)


def test_a_copy_fits_what_was_estimated(images: Path, tmp_path: Path) -> None:
    with xfslab.device(images / "full", 2 * GIB) as old, xfslab.device(images / "tight", 2 * GIB) as new:
        run(["mkfs.xfs", "-q", "-m", "rmapbt=1", old])
        with xfslab.mounted(old, tmp_path / "mounted") as root:
            grown(root)
        minimum, written = xfs_rebuild.estimated(old)
        # Three times 100 MiB are shared, and 200 MiB are in the size and not written.
        assert 300 * MIB < minimum < 480 * MIB
        assert xfs_rebuild.rebuild(new, old, minimum, tmp_path, True, lambda: None) == []
        assert 110 * MIB < (images / "tight").stat().st_blocks * 512 < written < 280 * MIB
    for image in ("full", "tight"):
        (images / image).unlink()


def test_a_filesystem_that_is_too_small_is_an_error(images: Path, tmp_path: Path) -> None:
    with xfslab.device(images / "full", 2 * GIB) as old, xfslab.device(images / "tight", SMALL) as new:
        run(["mkfs.xfs", "-q", old])
        with xfslab.mounted(old, tmp_path / "mounted") as root, (root / "large").open("wb") as file:
            for _ in range(400):
                file.write(bytes(range(256)) * 4096)
        with pytest.raises(Failed, match="cannot copy '/large': No space left on device"):
            xfs_rebuild.rebuild(new, old, SMALL, tmp_path, True, lambda: None)
    for image in ("full", "tight"):
        (images / image).unlink()


def test_no_name_in_the_root_is_in_the_way(images: Path, tmp_path: Path) -> None:
    """Anybody may make names in a filesystem that is mounted at /tmp."""
    with xfslab.device(images / "old", SMALL) as old, xfslab.device(images / "new", SMALL) as new:
        run(["mkfs.xfs", "-q", old])
        with xfslab.mounted(old, tmp_path / "mounted") as root:
            taken = root / copy.scratch_of(os.fspath(root))
            taken.mkdir()
            (root / copy.scratch_of(os.fspath(root))).symlink_to(taken)
            (taken / "one").write_text("x")
            (taken / "two").hardlink_to(taken / "one")
        assert xfs_rebuild.rebuild(new, old, SMALL, tmp_path, True, lambda: None) == []
        with xfslab.mounted(new, tmp_path / "is", "ro") as now:
            assert len(list(now.iterdir())) == 2
    for image in ("old", "new"):
        (images / image).unlink()


def test_paths_of_any_length_and_large_folders(images: Path, tmp_path: Path) -> None:
    with xfslab.device(images / "deep", SMALL) as old, xfslab.device(images / "copy", SMALL) as new:
        run(["mkfs.xfs", "-q", old])
        with xfslab.mounted(old, tmp_path / "mounted") as root:
            fd = os.open(root, os.O_RDONLY)
            for _ in range(40):
                os.mkdir("x" * 200, dir_fd=fd)
                below = os.open("x" * 200, os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = below
            file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
            os.write(file, b"deep")
            os.close(file)
            os.symlink("nowhere", "link", dir_fd=fd)
            os.mkdir("many", dir_fd=fd)
            many = os.open("many", os.O_RDONLY, dir_fd=fd)
            for number in range(MANY):
                os.close(os.open(f"{number}", os.O_WRONLY | os.O_CREAT, dir_fd=many))
            os.close(many)
            os.close(fd)
        assert xfs_rebuild.rebuild(new, old, SMALL, tmp_path, True, lambda: None) == []
        xfs.check(new)
        with xfslab.mounted(new, tmp_path / "is", "ro") as now:
            found = run(["find", "-mindepth", "1", "-printf", "%d %y\n"], cwd=now).stdout.splitlines()
        assert found.count("41 f") == found.count("41 l") == 1
        assert found.count("42 f") == MANY
    for image in ("deep", "copy"):
        (images / image).unlink()
