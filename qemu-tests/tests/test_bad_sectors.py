"""Disks that fail: sources with bad sectors in files, and targets that take no writes.

What a disk says of itself is odd here, too (qemu-tests/guest/bad_sectors.py): it is packed as any other.
"""

import json
import mmap
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.runs import Lab, assert_ended, fingerprint
from lab.shared import shared
from lvpack_agent.image import check
from lvpack_agent.image.losses import BAD_SECTORS
from lvpack_agent.processes import run
from lvpack_agent.restore import mark
from lvpack_agent.sizes import GIB, MIB
from lvpack_builder.cli.main import main
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.qemu import Drive, create_disk

pytestmark = [pytest.mark.xdist_group("bad sectors"), pytest.mark.saved_guest, pytest.mark.timeout(1800)]
full = pytest.mark.full

BACKUP = ("lvpack.action=backup", "lvpack.name=one")
FAILED_LOG = "one.failed.log"
# The sector that cannot be read, counted from a file's first one, by LV: ext2 parts a file after 16 KiB, and xfs_repair
# reads the first 128 KiB of an allocation group, in which the file on XFS begins.
BAD = {"sys": 20, "old": 20, "data": 100}
GUEST = Path(__file__).parents[1] / "guest"
LOOK = """set -e
vgchange -a y bad; mkdir -p /run/r /run/d /run/o; udevadm settle
mount -o ro /dev/bad/sys /run/r; mount -t xfs -o ro /dev/bad/data /run/d; mount -o ro /dev/bad/old /run/o
cd /run; sha256sum 'r/srv/lost and found' d/a/gone o/some r/kept d/kept o/kept > /host/sums
cp 'r/srv/lost and found' /host/sys; cp d/a/gone /host/data; cp o/some /host/old
ls -A r > /host/names; sfdisk --json {disk} > /host/table; blkid -p -o value -s LABEL /dev/bad/swap > /host/swap
dd if=/dev/bad/swap bs=1 skip=1052 count=4 of=/host/label
"""


@dataclass(frozen=True, kw_only=True)
class Failing:
    """A disk, and the sectors that its files begin at, by LV; root is that of the directory /."""

    path: Path
    sectors: dict[str, int]
    root: int


@pytest.fixture(scope="session")
def failing(image: LiveImage, tmp_path_factory: pytest.TempPathFactory) -> Failing:
    def make(folder: Path) -> None:
        disk = create_disk(folder / "disk.img", 2 * GIB)
        shutil.copy(GUEST / "bad_sectors.py", folder)
        command = "PYTHONPATH=/usr/lib/lvpack python3 /host/bad_sectors.py /dev/vda"
        answer = helper.in_live_image(image, [Drive(path=disk)], folder, command, folder / "make.log", 300)
        assert answer.status == 0, answer.output
        [line] = [line for line in answer.output.splitlines() if line.startswith("sectors ")]
        (folder / "sectors.json").write_text(line.removeprefix("sectors "))

    folder = shared(tmp_path_factory, "bad-sectors", make)
    sectors = json.loads((folder / "sectors.json").read_text())
    return Failing(path=folder / "disk.img", root=sectors.pop("/"), sectors=sectors)


def assert_no_set(lab: Lab) -> None:
    """The run has left its log and nothing else."""
    assert [path.name for path in lab.share.iterdir()] == [FAILED_LOG]


@full
def test_a_bad_sector_is_named_with_its_file(lab: Lab, failing: Failing) -> None:
    before = fingerprint(failing.path)
    bad = failing.sectors["sys"] + BAD["sys"]
    report = lab.run([Drive(path=failing.path, unreadable=(bad,))], *BACKUP)
    assert_ended(report, "failed", f"'/dev/vda' at sector {bad} (LV sys, byte", "'/srv/lost and found'")
    assert "lvpack.errors=skip" in report.hint
    assert_no_set(lab)
    assert fingerprint(failing.path) == before


@full
def test_a_tool_that_meets_a_bad_sector_leaves_the_word_to_the_kernel(lab: Lab, failing: Failing) -> None:
    bad = failing.sectors["data"] + BAD["data"]
    report = lab.run([Drive(path=failing.path, unreadable=(bad,))], *BACKUP)
    assert_ended(report, "failed", "'/dev/vda' could not be read from sector ")
    assert_no_set(lab)


@full
def test_a_directory_that_cannot_be_read_is_not_repaired_away(lab: Lab, failing: Failing) -> None:
    """e2fsck would ignore the error, write zeros over / and put what was in it into lost+found."""
    before = fingerprint(failing.path)
    drive = Drive(path=failing.path, unreadable=(failing.root,))
    report = lab.run([drive], *BACKUP)
    assert_ended(report, "failed", "cannot read the filesystem on '", "'/dev/vda' could not be read from sector ")
    assert "lvpack.errors=skip" in report.hint
    assert_no_set(lab)
    (lab.share / FAILED_LOG).unlink()
    report = lab.run([drive], *BACKUP, "lvpack.errors=skip")
    assert report.status == "ok" and "DATA IS MISSING" in report.message, report
    assert any("LV sys: e2fsck repaired its copy in the overlay" in text for text in report.warnings), report
    [folder] = lab.share.iterdir()
    [row] = [line.split("\t") for line in (folder / BAD_SECTORS).read_text().splitlines() if line[0] != "#"]
    assert row[:4] == ["/dev/vda", str(failing.root), "1", "LV sys"]
    assert fingerprint(failing.path) == before


@full
def test_all_but_bad_sectors_comes_back_and_what_is_missing_is_said_wherever_the_set_is_used(
    lab: Lab, image: LiveImage, failing: Failing
) -> None:
    before = fingerprint(failing.path)
    bad = {lv: sector + BAD[lv] for lv, sector in failing.sectors.items()}
    words = (*BACKUP[:1], "lvpack.errors=skip")
    report = lab.run([Drive(path=failing.path, unreadable=tuple(bad.values()))], *words)
    assert report.status == "ok", report
    assert fingerprint(failing.path) == before
    assert report.name.startswith("h" * 64 + "-")
    missing = [text for text in report.warnings if text.startswith("DATA IS MISSING: 3 sectors of /dev/vda")]
    assert missing and "DATA IS MISSING" in report.message, report
    # e2fsck made no lost+found, nor did anything else that would have to be said.
    assert [w for w in report.warnings if "e2fsck" in w or "lost+found" in w] == []

    [folder] = lab.share.iterdir()
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder)
    rows = [line.split("\t") for line in (folder / BAD_SECTORS).read_text().splitlines() if line[0] != "#"]
    files = {"sys": "/srv/lost and found", "data": "/a/gone", "old": "/some"}
    found = {(disk, int(sector), int(count), volume, file) for disk, sector, count, volume, _, file in rows}
    assert found == {("/dev/vda", bad[lv], 1, f"LV {lv}", file) for lv, file in files.items()}
    assert {loss.file for loss in check.read_manifest(folder).unreadable} == set(files.values())
    for command in ("inspect", "verify"):
        answer = CliRunner().invoke(main, [command, str(folder)])
        assert answer.exit_code == 0 and missing[0] in answer.output, answer.output
    verified = lab.run([], "lvpack.action=verify", f"lvpack.source={folder.name}")
    assert verified.status == "ok" and missing[0] in verified.warnings, verified

    target = create_disk(lab.folder / "target.img", check.read_manifest(folder).packed.disks[0].size + 100 * MIB)
    restore = ("lvpack.action=restore", f"lvpack.source={folder.name}", "lvpack.grow=none")
    report = lab.run([Drive(path=target)], *restore)
    assert report.status == "ok" and missing[0] in report.warnings, report
    here, there = look(image, failing.path, lab.folder / "here"), look(image, target, lab.folder / "there")
    for lv in files:
        old, new = (bytearray((where / lv).read_bytes()) for where in (here, there))
        start, end = BAD[lv] * 512, (BAD[lv] + 1) * 512
        assert old != new and new[start:end] == bytes(512)
        new[start:end] = old[start:end]
        assert new == old
    sums = [(where / "sums").read_text().splitlines()[3:] for where in (here, there)]
    assert sums[0] == sums[1]
    for name in ("names", "swap", "label"):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name
    tables = [json.loads((where / "table").read_text())["partitiontable"] for where in (here, there)]
    assert [t["partitions"][0]["name"] for t in tables] == ["two\nlines"] * 2
    assert "lost+found" not in (there / "names").read_text()

    # A target that takes no writes in one place is at fault itself, and looks like no good disk.
    with target.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        # Not of zeros: those come by a command of their own. "kept" is what a file that is whole is full of.
        written = raw.find(b"kept" * 128, MIB)
    assert written > 0
    failing_drive = Drive(path=target, unwritable=(written // 512 + 1,))
    report = lab.run([failing_drive], *restore, "lvpack.overwrite=yes")
    assert_ended(report, "failed", "cannot write '/dev/vda' from sector ", "Input/output error", "table was removed")
    assert "defect" not in report.hint and "dmesg" in report.hint
    with target.open("rb") as file:
        assert mark.stands_alone(file.read(MIB))


def look(image: LiveImage, disk: Path, folder: Path) -> Path:
    """Return a folder with what is in the files of a disk."""
    folder.mkdir()
    copy = Drive(path=disk, temporary=True)
    (folder / "look").write_text(LOOK.format(disk="/dev/vda"))
    answer = helper.in_live_image(image, [copy], folder, "sh -x /host/look", folder / "look.log", 300)
    assert answer.status == 0, answer.output
    return folder
