"""What must be refused or fail: each with a clear message, an untouched source, and no image set on the share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.runs import Lab, assert_ended, fingerprint, log_left
from lvpack_agent.processes import run
from lvpack_agent.report import UNKNOWN
from lvpack_agent.sizes import KIB, MIB, parse_size
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import running
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import limited_folder, nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import recipe_of

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(1800)]

full = pytest.mark.full
BACKUP = ("lvpack.action=backup", "lvpack.name=one")
LOG = "one.failed.log"
# The swap header's signature takes the last ten bytes of its first page (kernel: include/linux/swap.h).
SWAP_SIGNATURE, SUSPEND_SIGNATURE, SWAP_PAGE = b"SWAPSPACE2", b"S1SUSPEND\0", 4096
PE_START = MIB
# Memory that is left to a run: less than what it keeps free beside the store.
LEFT = 72 * MIB


@pytest.fixture(autouse=True)
def nothing_remains(lab: Lab, source: Path, source_fingerprint: str) -> Iterator[None]:
    """After each test the source is the same to the byte and the share holds no image set, finished or not.

    It may hold the log of the run.
    """
    yield
    assert fingerprint(source) == source_fingerprint
    assert [p.name for p in lab.share.iterdir() if p.name.startswith("one") and p.name != LOG] == []


@pytest.mark.parametrize(
    "word",
    [
        "lvpack.b\udcfcro=red",  # the byte of Latin-1
        *(pytest.param(w, marks=full) for w in ("lvpack.margin=much", "lvpack.compress=zstd:20", "lvpack.disk")),
        pytest.param("lvpack.config=nfs://h:99999/f", marks=full),
        pytest.param(f"lvpack.margin={'9' * 400}", marks=full, id="lvpack.margin of 400 digits"),
    ],
)
def test_wrong_option_stops_before_any_disk_is_touched(lab: Lab, source: Path, word: str) -> None:
    report = lab.run([Drive(path=source)], *BACKUP, word)
    assert_ended(report, "refused", f"'{word.partition('=')[0]}".replace("\udcfc", "\\xfc"))
    assert report.timings.probe == UNKNOWN
    assert list(lab.share.iterdir()) == [], "no share was mounted yet"


def test_no_lvm(lab: Lab) -> None:
    disk = create_disk(lab.folder / "data.img", 64 * MIB)
    run(["mkfs.ext4", "-q", disk])
    before = fingerprint(disk)
    report = lab.run([Drive(path=disk)], *BACKUP)
    assert_ended(report, "refused", "no VG", "/dev/vda")
    assert "share: nfs://" in log_left(lab.share, "one", report)
    assert fingerprint(disk) == before


@full
def test_two_vgs_of_one_name(lab: Lab, source: Path) -> None:
    other = create_disk(lab.folder / "other.img", 128 * MIB)
    lab.prepare([Drive(path=other)], f"pvcreate /dev/vda && vgcreate {vg_name()} /dev/vda")
    before = fingerprint(other)
    report = lab.run([Drive(path=source), Drive(path=other)], *BACKUP, f"lvpack.vg={vg_name()}")
    assert_ended(report, "refused", f"'{vg_name()}'", "two of that name", "/dev/vda2", "/dev/vdb")
    assert "lvpack.disk=" in report.hint
    assert fingerprint(other) == before


def test_share_that_nobody_serves(lab: Lab, source: Path) -> None:
    report = lab.run([Drive(path=source)], *BACKUP, "lvpack.target=nfs://10.0.2.2:1/export")
    assert_ended(report, "failed", "reach share 'nfs://10.0.2.2:1/export'")


def test_share_without_the_folder(lab: Lab, source: Path) -> None:
    report = lab.run([Drive(path=source)], *BACKUP, "lvpack.target=not-there")
    assert_ended(report, "failed", "mount share", "/export/not-there")


@full
def test_read_only_share(lab: Lab, source: Path) -> None:
    assert_ended(lab.run([Drive(path=source)], *BACKUP, read_only=True), "failed", "write to the share", "Read-only")


def test_share_that_gets_full_in_the_middle(lab: Lab, source: Path) -> None:
    with limited_folder(lab.folder / "small", 100 * MIB) as folder:
        report = lab.run([Drive(path=source)], *BACKUP, share=folder)
        assert_ended(report, "failed", "'one", "No space left on device")
        assert report.timings.dump != UNKNOWN
        assert [path.name for path in folder.iterdir()] == [LOG], "what was written of the set made room for it"
        assert "== dump" in log_left(folder, "one", report)


def test_name_that_exists(lab: Lab, source: Path) -> None:
    taken = lab.share / "taken"
    taken.mkdir()
    (taken / "disk.img.zst").write_text("the only copy")
    report = lab.run([Drive(path=source)], "lvpack.action=backup", "lvpack.name=taken")
    assert_ended(report, "refused", "'taken'", "exists")
    assert sorted(p.name for p in lab.share.iterdir()) == ["taken", "taken.failed.log"]
    log_left(lab.share, "taken", report)
    assert (taken / "disk.img.zst").read_text() == "the only copy"


@full
def test_memory_that_not_even_a_plan_without_shrinking_fits(
    lab: Lab, image: LiveImage, source: Path, source_fingerprint: str
) -> None:
    with nfs_share(lab.share) as share:
        machine = live(image, ["lvpack.action=shell"], drives=(Drive(path=source),), memory=768)
        with running(machine, accelerator(image), lab.folder / "console.log") as console:
            helper.shell_ready(console)
            # Something else has all the memory but what the agent and its tools need.
            ballast = f"$(( $(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) - {LEFT // KIB} ))"
            answer = console.shell(
                "mkdir /run/ballast && mount -t tmpfs -o size=100% ballast /run/ballast && "
                f"dd if=/dev/zero of=/run/ballast/file bs=1k count={ballast}",
                120,
            )
            assert answer.status == 0, answer.output
            words = " ".join([*BACKUP, f"lvpack.target={share.url}"])
            console.send(f"python3 -m lvpack_agent --cmdline '{words}' > /dev/null 2>&1")
            report = console.result(300)
    assert_ended(report, "refused", "store needs about", "room for")
    assert "lvpack.scratch=" in report.hint
    assert report.timings.shrink == UNKNOWN
    assert fingerprint(source) == source_fingerprint


def test_store_that_overflows_all_the_same(lab: Lab, image: LiveImage, source: Path, source_fingerprint: str) -> None:
    with nfs_share(lab.share) as share:
        machine = live(image, [helper.SHELL], drives=(Drive(path=source),), memory=1024)
        with helper.at_shell(machine, accelerator(image), lab.folder / "console.log") as console:
            words = " ".join([*BACKUP, f"lvpack.target={share.url}"])
            console.send(f"python3 -m lvpack_agent --cmdline '{words}' > /dev/null 2>&1 &")
            console.expect("== shrink", 120)
            # Something else takes the room that was counted on.
            console.send("dd if=/dev/urandom of=/dev/mapper/lvpack-source bs=1M seek=4096 count=1000 2> /dev/null")
            report = console.result(300)
    assert_ended(report, "failed", "overflowed")
    assert "untouched" in report.hint
    assert fingerprint(source) == source_fingerprint


def test_hibernated_system(lab: Lab, pristine: Path) -> None:
    disk = sparse_copy(pristine, lab.folder / "asleep.img")
    with disk.open("r+b") as file:
        file.seek(swap_offset() + SWAP_PAGE - len(SWAP_SIGNATURE))
        assert file.read(len(SWAP_SIGNATURE)) == SWAP_SIGNATURE
        file.seek(-len(SWAP_SIGNATURE), 1)
        file.write(SUSPEND_SIGNATURE)
    before = fingerprint(disk)
    assert_ended(lab.run([Drive(path=disk)], *BACKUP), "refused", "LV swap", "hibernated")
    assert fingerprint(disk) == before


def vg_name() -> str:
    vg = recipe_of("server")["vg"]
    assert isinstance(vg, dict)
    return str(vg["name"])


def swap_offset() -> int:
    """Return the byte at which the sample server's swap LV begins."""
    recipe = recipe_of("server")
    vg, lvs, partitions = recipe["vg"], recipe["lv"], recipe["partition"]
    assert isinstance(vg, dict) and isinstance(lvs, list) and isinstance(partitions, list)
    [extents] = next(lv["extents"] for lv in lvs if lv["name"] == "swap")
    return parse_size(partitions[-1]["start"]) + PE_START + int(extents.split("-")[0]) * parse_size(vg["extent"])
