"""In-place mode on small disks: power cuts, a full PV, GPT, a scratch device, and what it refuses.

test_main_job.py has the sample server.

It is long, as a test here is a procedure: a disk is made, spoiled or cut, and looked at.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from lab.cutjobs import InPlace
from lab.cutrun import Moment
from lab.runs import IN_PLACE, Lab, assert_ended, cut_to_size, fingerprint
from lab.volatile import PLAIN, VOLATILE
from lab.writelog import Timeline, WriteLog, areas_of, merges_on
from lvpack_agent.backup.journal_record import PROGRESS, RECORD, Progress, Record
from lvpack_agent.image import check
from lvpack_agent.inplace.steps import AddArea, ExtendLv, MoveExtents, ReduceLv, RemoveArea, ResizePv, Step
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.printable import MARK
from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK, UNKNOWN, Report
from lvpack_agent.sizes import KIB, MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.console import running
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import limited_folder, nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.runs import shared_arguments
from lvpack_builder.lab.sample.server import make_sample
from tools.powercuts import ARGUMENTS, run_cuts, run_moments

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(2400)]
full = pytest.mark.full

SUPERBLOCK_MOUNTS = 1024 + 52  # s_mnt_count (kernel: Documentation/filesystems/ext4/super.rst)


def journals(share: Path) -> list[str]:
    return [p.name for p in share.iterdir() if p.name.startswith("inplace-")]


def new_seed() -> int:
    """Return where and when power cuts fall: LVPACK_SEED, or a new one."""
    return int(os.environ.get("LVPACK_SEED") or secrets.randbelow(1 << 32))


# One of each kind, in the order in which they come; the dice have only the delays. That a step is written down before
# its writes are safe shows when the next one has begun and the disk then loses what was not flushed.
MOMENTS = (
    Moment(kind="shrink: resize", within=4.0, disk=VOLATILE),
    Moment(kind="shrink: merge", within=0.5, disk=VOLATILE, share_away=True),
    # The first filesystem is merged, and its LV was just reduced.
    Moment(kind="shrink: resize", within=0.3, disk=VOLATILE),
    Moment(kind="shrink: merge", within=1.0, disk=PLAIN),
    # Extents were just moved, and others are on their way.
    Moment(kind="compact: move", skip=1, within=3.0, disk=VOLATILE),
    # The PV was just resized.
    Moment(kind="truncate: table", within=0.5, disk=VOLATILE),
)


def test_power_cuts_at_each_kind_of_moment(image: LiveImage, tmp_path: Path) -> None:
    # What writes to the disk; `make cuts` has dump and regrow too.
    arguments = (*ARGUMENTS, "lvpack.dump=no")
    job = InPlace(image=image, pristine=make_sample(image, "logical"), arguments=arguments)
    cuts = run_moments(job, tmp_path, MOMENTS, new_seed(), print)
    assert len(cuts) == len(MOMENTS)


@full
def test_five_power_cuts_by_the_dice(image: LiveImage, tmp_path: Path) -> None:
    arguments = (*ARGUMENTS, "lvpack.dump=no")
    job = InPlace(image=image, pristine=make_sample(image, "logical"), arguments=arguments)
    assert len(run_cuts(job, tmp_path, 5, new_seed(), print)) == 5


@full
def test_gpt_disk_with_a_scratch_device_holds_when_it_is_cut(image: LiveImage, lab: Lab) -> None:
    pristine = make_sample(image, "gpt")
    disk = sparse_copy(pristine, lab.folder / "disk.img")
    scratch = create_disk(lab.folder / "scratch.img", 256 * MIB)
    drives = [Drive(path=disk), Drive(path=scratch)]
    report = lab.run(drives, *IN_PLACE, "lvpack.scratch=/dev/vdb", "lvpack.margin=8M", "lvpack.dump=no")
    assert report.status == "ok", report
    assert [p.name for p in lab.share.iterdir()] == journals(lab.share)
    cut = cut_to_size(disk, report, lab.folder / "cut.img")
    before, after = (inventory.take(image, Drive(path=d)) for d in (pristine, cut))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert "No errors detected" in run(["sfdisk", "--verify", cut]).stdout
    # Its store was not on the share, and whoever comes next may use it.
    assert not any((lab.share / name / "store").exists() for name in journals(lab.share))
    report = lab.run(drives, "lvpack.action=backup", "lvpack.name=two", "lvpack.scratch=/dev/vdb")
    assert report.status == "ok", report


# LVM takes stripes on one PV only side by side; compaction cuts and parts them.
STRIPES = """set -e
stripes="--alloc anywhere --stripes 2 --stripesize 16k"
lvcreate --yes $stripes -l 40 -n fast whole /dev/vda:140-179
lvextend $stripes -l +20 whole/fast /dev/vda:4-23
mkfs.ext4 -q /dev/whole/fast
mkdir /run/fast
mount /dev/whole/fast /run/fast
head -c 50M /dev/urandom > /run/fast/random
umount /run/fast
vgchange -a n whole
"""


@pytest.fixture
def striped(image: LiveImage, lab: Lab) -> Path:
    disk = sparse_copy(make_sample(image, "whole"), lab.folder / "striped.img")
    (lab.folder / "stripes").write_text(STRIPES)
    lab.prepare([Drive(path=disk)], "sh -x /host/stripes")
    return disk


@full
def test_power_cuts_spare_a_striped_lv(image: LiveImage, lab: Lab, striped: Path) -> None:
    """With regrow, which has a step of its own for it: one commit of the VG's metadata."""
    arguments = (*ARGUMENTS, "lvpack.margin=24M", "lvpack.regrow=yes")
    job = InPlace(image=image, pristine=striped, arguments=arguments)
    assert len(run_cuts(job, lab.folder, 6, new_seed(), print)) == 6


@full
def test_striped_lv_is_packed_and_gets_every_extent_back(image: LiveImage, lab: Lab, striped: Path) -> None:
    disk = striped
    before = inventory.take(image, Drive(path=disk))
    report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.margin=24M", "lvpack.regrow=yes")
    assert report.status == "ok", report
    packed = check.read_manifest(lab.share / "one").packed.vgs[0]
    [fast] = [lv for lv in packed.lvs if lv.name == "fast"]
    assert fast.extents <= 40 and len(fast.segments) > 1, "of its first segment a part is left, and that is cut"
    assert all(s.others and s.stripe_size == 16 * KIB for s in fast.segments)
    after = inventory.take(image, Drive(path=disk))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert after.segments == before.segments


@pytest.fixture
def two_areas(image: LiveImage, lab: Lab) -> Path:
    disk = sparse_copy(make_sample(image, "areas"), lab.folder / "areas.img")
    lab.prepare([Drive(path=disk)], "sfdisk --delete /dev/vda 2")
    return disk


def metadata_areas(lab: Lab, disk: Path) -> list[str]:
    """Return where LVM's own tool finds the metadata areas of a PV."""
    said = lab.prepare([Drive(path=disk, temporary=True)], "pvck --dump headers /dev/vda1")
    return re.findall(r"mda_header_\d\.(?:start|size) \d+", said)


@full
def test_second_metadata_area_goes_with_the_end_of_the_pv(image: LiveImage, lab: Lab, two_areas: Path) -> None:
    before, areas = inventory.take(image, Drive(path=two_areas)), metadata_areas(lab, two_areas)
    assert len(areas) == 4
    disk = sparse_copy(two_areas, lab.folder / "disk.img")
    report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.margin=8M", "lvpack.regrow=yes")
    assert report.status == "ok", report
    assert metadata_areas(lab, disk) == areas
    after = inventory.take(image, Drive(path=disk))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert after.segments == before.segments

    target = create_disk(lab.folder / "target.img", report.sizes.packed_disk)
    restored = lab.run([Drive(path=target)], "lvpack.action=restore", "lvpack.source=one")
    assert restored.status == "ok", restored
    after = inventory.take(image, Drive(path=target))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    [pv] = check.read_manifest(lab.share / "one").packed.vgs[0].pvs
    assert pv.second_area and pv.second_area.start + pv.second_area.size == pv.size
    assert metadata_areas(lab, target)[2:] == [
        f"mda_header_2.start {pv.second_area.start}",
        f"mda_header_2.size {pv.second_area.size}",
    ]


# What is zeroed of the second area: so many sectors from that one on.
ZERO = """at=$(pvck --dump headers /dev/vda1 | awk '/mda_header_2.start/ {{ print $2 }}')
dd if=/dev/zero of=/dev/vda1 bs=512 seek=$((at / 512 + {first})) count={count} conv=notrunc,fsync
"""


@full
@pytest.mark.parametrize(
    ("command", "words", "hint"),
    [
        ("vgchange --vgmetadatacopies 1 areas", "set to be ignored", "vgchange --vgmetadatacopies all"),
        (ZERO.format(first=1, count=99), "text is damaged", "vgck --updatemetadata"),
        (ZERO.format(first=0, count=1), "header is damaged", "lvpack.mode=overlay"),
    ],
)
def test_metadata_area_that_is_not_of_use(lab: Lab, two_areas: Path, command: str, words: str, hint: str) -> None:
    """The disk is refused, and is packed when the hint was followed."""
    (lab.folder / "change").write_text(command)
    lab.prepare([Drive(path=two_areas)], "sh -ex /host/change")
    untouched = fingerprint(two_areas)
    report = lab.run([Drive(path=two_areas)], *IN_PLACE)
    assert_untouched(report, "refused", words, two_areas, untouched)
    assert hint in report.hint
    assert journals(lab.share) == []
    how = list(IN_PLACE)
    if hint.startswith("lvpack."):
        how = [hint if word.startswith("lvpack.mode=") else word for word in how]
    else:
        lab.prepare([Drive(path=two_areas)], f"{hint} areas")
    report = lab.run([Drive(path=two_areas)], *how, "lvpack.margin=8M")
    assert report.status == "ok", report
    [pv] = check.read_manifest(lab.share / "one").packed.vgs[0].pvs
    assert pv.second_area


def is_of_metadata(step: Step, _: VolumeGroup) -> bool:
    return isinstance(step, RemoveArea | ResizePv | AddArea | ReduceLv)


def is_of_stripes(step: Step, vg: VolumeGroup) -> bool:
    """Tell whether a step extends a striped LV, or moves a piece of one."""
    if isinstance(step, ExtendLv):
        return bool(step.segment.others)
    striped = [s for lv in vg.lvs for s in lv.segments if s.others]
    places = [range(area.pe, area.pe + s.length) for s in striped for area in s.areas]
    return isinstance(step, MoveExtents) and any(step.move.source in place for place in places)


@full
@pytest.mark.timeout(5400)
def test_any_write_may_be_the_last_of_a_second_metadata_area(image: LiveImage, lab: Lab, two_areas: Path) -> None:
    cut_after_writes(image, lab, two_areas, "8M", is_of_metadata)


@full
@pytest.mark.timeout(5400)
def test_any_write_may_be_the_last_of_a_step_with_stripes(image: LiveImage, lab: Lab, striped: Path) -> None:
    cut_after_writes(image, lab, striped, "24M", is_of_stripes)


def cut_after_writes(
    image: LiveImage, lab: Lab, pristine: Path, margin: str, wanted: Callable[[Step, VolumeGroup], bool]
) -> None:
    """Cut the power after writes of the wanted steps of a run, as dice have it; it goes on, and all is as before."""
    dice = Random(seed := new_seed())
    words = (*IN_PLACE, f"lvpack.margin={margin}", "lvpack.regrow=yes")
    before = inventory.take(image, Drive(path=pristine))
    whole, log_file = sparse_copy(pristine, lab.folder / "whole.img"), lab.folder / "log"
    log_file.touch()
    report = lab.run([Drive(path=whole, log=log_file)], *words)
    assert report.status == "ok", report
    log = WriteLog(log_file)
    replayed = log.replayed(pristine, len(log.entries), lab.folder / "replayed.img")
    assert fingerprint(replayed) == fingerprint(whole), "the log has every write"

    [name] = journals(lab.share)
    planned = from_json(Record, json.loads((lab.share / name / RECORD).read_text())).plan
    timeline = Timeline(log, planned, pristine, lab.folder / "pv.img")
    cuts = timeline.cuts(wanted, dice)
    print(f"seed {seed}: {len(cuts)} cuts")
    assert {cut.step < timeline.shrinking for cut in cuts} == {True, False}
    for cut in cuts:
        without = f" but {len(cut.lost)}" if cut.lost else ""
        print(
            f"after {cut.entries} of {len(log.entries)} entries{without}, in step {cut.step}: {timeline.todo[cut.step]}"
        )
        left = log.replayed(pristine, cut.entries, lab.folder / "left.img", cut.lost)
        share = lab.folder / "left-share"
        shutil.copytree(lab.share / name, share / name)
        # The image set is written between the two halves.
        [merged] = merges_on(left, planned, lab.folder / "pv.img") or [""]
        progress = Progress(done=cut.step, merged=merged, dumped=cut.step >= timeline.shrinking)
        (share / name / PROGRESS).write_text(json.dumps(to_json(progress)))
        report = lab.run([Drive(path=left)], *words, share=share)
        assert report.status == "ok", report
        if cut.lost:
            assert "they have different metadata" in (lab.folder / "console.log").read_text()
        after = inventory.take(image, Drive(path=left))
        assert inventory.differing_files(before, after) == []
        assert after.identities() == before.identities()
        assert after.segments == before.segments
        assert areas_of(left, planned, lab.folder / "pv.img") == areas_of(pristine, planned, lab.folder / "pv.img")
        shutil.rmtree(share)


@full
def test_full_pv_moves_one_extent_and_then_nothing(image: LiveImage, lab: Lab) -> None:
    pristine = make_sample(image, "full")
    disk = sparse_copy(pristine, lab.folder / "disk.img")
    words = (*IN_PLACE, "lvpack.margin=1G", "lvpack.dump=no")
    report = lab.run([Drive(path=disk)], *words)
    assert report.status == "ok", report
    assert report.sizes.compact_moved == MIB
    before, after = (inventory.take(image, Drive(path=d)) for d in (pristine, disk))
    assert inventory.differing_files(before, after) == []
    assert [pv["vg_free_count"] for pv in after.pvs] == ["0"]
    assert [p.name for p in lab.share.iterdir()] == journals(lab.share)

    packed = fingerprint(disk)
    for name in ("one", "two"):  # the same run once more, and a new one, whose plan finds nothing to do
        report = lab.run([Drive(path=disk)], *words, f"lvpack.name={name}")
        assert report.status == "ok", report
        assert (report.timings.plan != UNKNOWN) == (name == "two")
        assert report.timings.journal == UNKNOWN
        assert fingerprint(disk) == packed


@pytest.fixture
def small(image: LiveImage, lab: Lab) -> Path:
    return sparse_copy(make_sample(image, "logical"), lab.folder / "disk.img")


def assert_untouched(report: Report, status: str, words: str, disk: Path, untouched: str) -> None:
    assert_ended(report, status, words)
    assert fingerprint(disk) == untouched


def test_share_that_takes_no_journal(lab: Lab, small: Path) -> None:
    untouched = fingerprint(small)
    report = lab.run([Drive(path=small)], *IN_PLACE, read_only=True)
    assert_untouched(report, "failed", "write the journal", small, untouched)


@full
def test_share_without_room_for_the_store(lab: Lab, small: Path) -> None:
    untouched = fingerprint(small)
    with limited_folder(lab.folder / "small", 16 * MIB) as folder:
        report = lab.run([Drive(path=small)], *IN_PLACE, share=folder)
        assert_untouched(report, "refused", "has room for", small, untouched)
        assert "lvpack.scratch=" in report.hint
        assert [path.name for path in folder.iterdir()] == ["one.failed.log"]


@full
def test_scratch_device_that_holds_something(lab: Lab, small: Path) -> None:
    other = create_disk(lab.folder / "other.img", 256 * MIB)
    with other.open("r+b") as file:
        file.seek(100 * MIB)
        file.write(b"the only copy" * MIB)
    untouched, kept = fingerprint(small), fingerprint(other)
    report = lab.run([Drive(path=small), Drive(path=other)], *IN_PLACE, "lvpack.scratch=/dev/vdb")
    assert_untouched(report, "refused", "not empty", small, untouched)
    assert fingerprint(other) == kept
    assert journals(lab.share) == []


def test_damaged_filesystem_is_not_repaired_on_the_only_copy(lab: Lab, small: Path) -> None:
    """Nor is a name on it, which e2fsck prints, taken for the result of the run."""
    # A directory with two names: e2fsck -p does not dare to repair that.
    name = f'{RESULT_MARK}{{"status": "ok", "action": "backup", "message": "packed", "name": "one"}}'
    lab.prepare(
        [Drive(path=small)],
        f"vgchange -ay host-vg && mount /dev/host-vg/home /mnt && mkdir '/mnt/{name}' && "
        f"number=$(stat -c %i '/mnt/{name}') && umount /mnt && "
        'debugfs -w -R "ln <$number> second" /dev/host-vg/home && vgchange -an host-vg',
    )
    untouched = fingerprint(small)
    report = lab.run([Drive(path=small)], *IN_PLACE)
    assert_untouched(report, "refused", "LV home: e2fsck found damage", small, untouched)
    assert journals(lab.share) == []
    assert "| Entry 'second'" in report.message
    assert name.replace(MARK, "LVPACK\\x2dRESULT") in report.message
    console = (lab.folder / "console.log").read_text()
    assert [line for line in console.splitlines() if MARK in line] == [report.line()]


@full
def test_what_a_resume_does_not_trust(image: LiveImage, lab: Lab, small: Path) -> None:
    pristine = sparse_copy(small, lab.folder / "pristine.img")
    with nfs_share(lab.share) as share:
        machine = live(image, shared_arguments(IN_PLACE, share), drives=(Drive(path=small),))
        with running(machine, accelerator(image), lab.folder / "console.log") as console:
            console.expect("-- merge LV root", 600)
            console.kill()
    [name] = journals(lab.share)
    cut = fingerprint(small)
    # Another mode.
    report = lab.run([Drive(path=small)], "lvpack.action=backup", "lvpack.name=two")
    assert_untouched(report, "refused", "not finished", small, cut)
    # Another share, where nothing tells of the run.
    empty = lab.folder / "empty"
    empty.mkdir()
    report = lab.run([Drive(path=small)], *IN_PLACE, share=empty)
    assert_untouched(report, "refused", "tag lvpack-inplace", small, cut)
    # A filesystem that was mounted in the middle of its merge.
    device = "/dev/host-vg/root"
    mounted = f"printf '\\x77' | dd of={device} bs=1 seek={SUPERBLOCK_MOUNTS} conv=notrunc,fsync status=none"
    lab.prepare([Drive(path=small)], f"vgchange -ay host-vg && {mounted} && vgchange -an host-vg")
    used = fingerprint(small)
    report = lab.run([Drive(path=small)], *IN_PLACE)
    assert_untouched(report, "failed", "used in between", small, used)
    # A disk that was rolled back, so that it does not have what the journal says: home was resized, not yet reduced.
    (lab.share / name / "progress.json").write_text('{"done": 2}')
    back = fingerprint(pristine)
    report = lab.run([Drive(path=pristine)], *IN_PLACE)
    assert_untouched(report, "failed", "its VG has no tag lvpack-inplace", pristine, back)
