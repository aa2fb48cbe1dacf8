"""Trees on XFS by the dice: a filesystem made anew has all of the original, by the comparison and by other tools.

A copy is compared by what copied it, so another description of both trees, by xfs_bmap(8) and bulkstat, is held against
that. LVPACK_TREES is how many trees are made, 200 for a full proof.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvpack_agent import treework, xfs, xfsrebuild
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, MIB
from tests.agent import xfslab

pytestmark = pytest.mark.starts_processes

TREES = int(os.environ.get("LVPACK_TREES", "12"))
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
        _, written = xfsrebuild.estimated(old)
        assert xfsrebuild.rebuild(new, old, SMALL, tmp_path, True, lambda: None) == []
        xfs.check(new)
        with (
            xfslab.mounted(old, tmp_path / "was", "ro") as was,
            xfslab.mounted(new, tmp_path / "is", "ro") as now,
        ):
            before, after = xfslab.described(was), xfslab.described(now)
            assert treework.compare(str(was), str(now), False, lambda: None) == []
        for path in {**before, **after}:
            assert after.get(path) == xfslab.forgiven(path, before.get(path), after.get(path)), path
        blocks = (images / f"new{number}").stat().st_blocks * 512
        assert blocks < written
    for image in ("old", "new"):
        (images / f"{image}{number}").unlink()
