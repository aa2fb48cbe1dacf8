"""XFS made anew, smaller: every file, owner, project, quota and feature is there again, and the server boots."""

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab import xfslab
from lab.runs import Lab, fingerprint
from lvpack_agent.image import check
from lvpack_agent.sizes import GIB, MIB
from lvpack_agent.trees import inodes
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import boot_to_login, sparse_copy
from lvpack_builder.lab.qemu import Drive, create_disk
from lvpack_builder.lab.sample.server import make_sample

pytestmark = [pytest.mark.full, pytest.mark.timeout(2400)]

GUEST = Path(__file__).parents[1] / "guest"
SELINUX = "system_u:object_r:usr_t:s0"
# Projects, limits, hints and flags, and a label on what is neither a file nor a directory; then the power fails: the
# name of a file is in the log only.
AGE = f"""
set -ex
vgchange -ay rhel
mount -o pquota,uquota /dev/rhel/root /mnt
mkdir -p /mnt/home/work/below
xfs_quota -x -c 'project -s -p /mnt/home/work 42' /mnt
xfs_quota -x -c 'limit -p bhard=500m isoft=1000 42' -c 'limit -u bhard=1g 1234' /mnt
umount /mnt
mount -o pquota,uquota /dev/rhel/root /mnt
echo kept > /mnt/home/work/below/file
chown 1234 /mnt/home/work/below/file
xfs_io -c 'extsize 1m' /mnt/home/work/below
ln -s nowhere /mnt/home/link
python3 -c '
import os
os.setxattr("/mnt/home/link", "security.selinux", b"{SELINUX}", follow_symlinks=False)
os.utime("/mnt/home/link", ns=(1, 981173106_123456789), follow_symlinks=False)
os.utime("/mnt/home", ns=(5, 5_000_000_000_123456789))
'
echo x > /mnt/home/fixed
xfs_io -c 'chattr +i' /mnt/home/fixed
cp -a --reflink=always /mnt/usr/share /mnt/home/share
python3 /host/age_xfs.py /mnt/home/odd
sync
echo late > /mnt/home/late
xfs_io -x -c 'shutdown -f' /mnt
umount /mnt
vgchange -an rhel
"""
REPORT = """
set -e
vgchange -ay rhel > /dev/null
for lv in root data; do xfs_db -r -c version -c 'sb 0' -c 'p dblocks' /dev/rhel/$lv; done
mount -o ro,pquota,uquota /dev/rhel/root /mnt
xfs_quota -x -c 'report -pn -bi' -c 'report -un -bi' /mnt
python3 /host/age_xfs.py /mnt/home described
umount /mnt
vgchange -an rhel > /dev/null
"""


def described(lab: Lab) -> dict[str, Any]:
    """Return what guest/age_xfs.py has found."""
    found: dict[str, Any] = pickle.loads((lab.folder / "described").read_bytes())
    return found


def facts(said: str) -> list[str]:
    """Return features, and limits of projects and users that have any; how much is used of them is left out."""
    rows = [line.split() for line in said.splitlines() if line.startswith("#")]
    limits = [[row[0], *row[2:4], *row[7:9]] for row in rows if {*row[2:4], *row[7:9]} != {"0"}]
    versions = re.findall(r"versionnum .*", said)
    assert len(versions) == 2 and len(limits) == 2, said
    return versions + [" ".join(row) for row in limits]


def blocks(said: str) -> list[int]:
    return [int(count) for count in re.findall(r"dblocks = (\d+)", said)]


def give(lab: Lab, script: str) -> None:
    """Put a script of guest/ into the folder that the guest sees as /host, and what it imports beside it."""
    shutil.copy(GUEST / script, lab.folder)
    (lab.folder / "lab").mkdir()
    shutil.copy(xfslab.__file__, lab.folder / "lab")


@pytest.fixture
def source(image: LiveImage, lab: Lab) -> Path:
    disk = sparse_copy(make_sample(image, "xfs"), lab.folder / "source.img")
    give(lab, "age_xfs.py")
    lab.prepare([Drive(path=disk)], AGE)
    return disk


def test_xfs_is_made_anew_and_boots(image: LiveImage, lab: Lab, source: Path) -> None:
    untouched = fingerprint(source)
    report = lab.run([Drive(path=source)], "lvpack.action=backup", memory=3072)
    assert report.status == "ok", report
    assert fingerprint(source) == untouched
    assert report.name.startswith("xfsserver-")
    manifest = check.read_manifest(lab.share / report.name)
    lvs = {old.name: (old, new) for old, new in manifest.plan.lvs()}
    for name in ("root", "data"):
        old, new = lvs[name]
        assert new.content.size < old.content.size / 2, name

    target = create_disk(lab.folder / "target.img", manifest.packed.disks[0].size + 5 * MIB)
    words = ("lvpack.action=restore", f"lvpack.source={report.name}", "lvpack.grow=none")
    report = lab.run([Drive(path=target)], *words)
    assert report.status == "ok", report

    # The inventory replays no log: the source's are replayed on a copy.
    replayed = sparse_copy(source, lab.folder / "replayed.img")
    was = lab.prepare([Drive(path=replayed)], REPORT)
    files = described(lab)
    now = lab.prepare([Drive(path=target)], REPORT)
    assert facts(now) == facts(was)
    restored = described(lab)
    assert len(files) > 1000 and len(files[""]) > 1000
    for path in {**files, **restored}:
        assert restored.get(path) == xfslab.forgiven(path, files.get(path), restored.get(path)), path
    assert all(new < old for old, new in zip(blocks(was), blocks(now), strict=True))
    before, after = (inventory.take(image, Drive(path=disk)) for disk in (replayed, target))
    for found in (before, after):
        for row in found.files["LV root"]:
            # More files may have this flag in the copy; xfslab has looked which.
            if "attributes" in row:
                row["attributes"][0] &= ~inodes.PREALLOC
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    [fixed] = [row for row in after.files["LV root"] if row["path"] == "/home/fixed"]
    assert fixed["attributes"][0] & 0x8
    [work] = [row for row in after.files["LV root"] if row["path"] == "/home/work/below"]
    assert work["attributes"][1:] == [MIB, 42]
    assert "/home/late" in {row["path"] for row in after.files["LV root"]}
    boot_to_login(image, target, lab.folder / "boot.log")


# Version 4, and quotas, which the kernel of the machine that runs the tests need not have.
TREES = 8


def test_trees_by_the_dice_on_this_kernel(image: LiveImage, lab: Lab) -> None:
    disks = [create_disk(lab.folder / f"{n}.img", size) for n, size in enumerate((2 * GIB, 400 * MIB))]
    give(lab, "copy_trees.py")
    drives = [Drive(path=disk) for disk in disks]
    said = lab.prepare(drives, f"python3 /host/copy_trees.py /dev/vda /dev/vdb 0 {TREES}")
    assert len(re.findall(r"tree \d+ .*: \d+ entries, told \[\], different \[\]", said)) == TREES, said
    assert re.search(r"quotas: .*1234.*, told \[\], the same: True", said), said


def test_xfs_keeps_its_size_where_the_store_is_too_small(image: LiveImage, lab: Lab, source: Path) -> None:
    report = lab.run([Drive(path=source)], "lvpack.action=plan", memory=768)
    assert report.status == "ok", report
    said = (lab.folder / "console.log").read_text()
    assert re.search(r"keep +LV root +xfs +.*the store has no room for making it anew", said), said[-3000:]
    assert re.search(r"shrink +LV data +xfs +.*made anew: minimum 300 MiB", said), said[-3000:]
