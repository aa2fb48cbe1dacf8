"""The whole way: pack the sample server in both modes, restore it to a smaller disk, compare everything, boot it.

They stand in one file, though it is long: all of them work with the two sets that are packed here once.
"""

import json
import mmap
import os
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab import interfaces
from lab.runs import IN_PLACE, Lab, assert_ended, cut_to_size, fingerprint, holds, log_left, sha256, started
from lab.shared import shared
from lvpack_agent.image import check, frames, pieces, write
from lvpack_agent.image.manifest import SCHEMA_SEVERAL, write_manifest
from lvpack_agent.layout import ranges
from lvpack_agent.layout.layout import differences
from lvpack_agent.layout.ranges import Range
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.pipes import is_zero
from lvpack_agent.processes import run
from lvpack_agent.report import UNKNOWN, Report, Sizes, parse_result
from lvpack_agent.restore import mark
from lvpack_agent.shares.stored import local
from lvpack_agent.sizes import MIB, human, round_up
from lvpack_builder.cli.main import main
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper, inventory, runs
from lvpack_builder.lab.demo import boot_to_login, sparse_copy
from lvpack_builder.lab.guest.make_server import DELETED
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import make_sample

pytestmark = pytest.mark.timeout(2400)

# What one process makes, and others would wait for.
packed_group, in_place_group = pytest.mark.xdist_group("packed"), pytest.mark.xdist_group("in place")

# MiB; the store for the whole shrink does not fit beside all the rest.
SMALL_MEMORY = 384
SMALL_SCRATCH = 128 * MIB
# Whose the files of a squashed root are, and of whom the folder is.
NOBODY, GROUP = 65534, 4321


@pytest.fixture(scope="session")
def restored(image: LiveImage, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk smaller than the source's, restored from the set as it was packed, by a BIOS from the ISO."""

    def make(folder: Path) -> None:
        lab = Lab(image=image, folder=folder, share=packed.parent)
        manifest = check.read_manifest(packed)
        target = create_disk(folder / "target.img", manifest.packed.disks[0].size + 100 * MIB)
        words = ("lvpack.action=restore", f"lvpack.source={packed.name}", "lvpack.grow=none")
        report = lab.run([Drive(path=target)], *words, boot="iso")
        assert report.status == "ok", report
        assert "firmware: BIOS" in (folder / "console.log").read_text(errors="replace")

    return shared(tmp_path_factory, "restored", make) / "target.img"


@pytest.fixture(scope="session")
def after(image: LiveImage, restored: Path) -> Inventory:
    """What is on the restored disk."""
    return inventory.take(image, Drive(path=restored))


@packed_group
def test_image_set_is_complete(packed: Path) -> None:
    names = {p.name for p in packed.iterdir()}
    promised = interfaces.rows("Files of an image set")
    assert names == {name.rstrip("/") for name in promised if not name.startswith(("diskN", "bad-sectors"))}
    for path in (packed, *packed.rglob("*")):
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=packed)
    assert json.loads((packed / "manifest.json").read_text())["schema"] == 1


@packed_group
@pytest.mark.saved_guest
def test_second_boot_of_a_day_packs_nothing(packed: Path, lab: Lab, source: Path) -> None:
    """A machine whose first boot device stays the network comes back with the same options."""
    report = lab.run([Drive(path=source)], "lvpack.action=backup", share=packed.parent)
    assert_ended(report, "refused", "again today", f"'{packed.name}'")
    assert "lvpack.name=NAME" in report.hint
    assert report.timings.plan == UNKNOWN
    again = f"{packed.name}.again"
    log_left(packed.parent, again, report)
    (packed.parent / f"{again}.failed.log").unlink()
    assert list(packed.parent.iterdir()) == [packed]


@packed_group
def test_packed_disk_is_small_and_has_no_hole(packed: Path, before: Inventory, after: Inventory) -> None:
    manifest = check.read_manifest(packed)
    extent = manifest.packed.vgs[0].extent_size
    filesystems = sum(
        round_up(int(size * 1.05), extent) for name, size in before.minimum.items() if name.startswith("LV")
    )
    before_data = manifest.packed.first_extent(manifest.packed.vgs[0].pvs[0])
    assert manifest.packed.disks[0].size <= 1.05 * (filesystems + before_data + extent)
    assert [pv["vg_free_count"] for pv in after.pvs] == ["0"]
    end = 0
    for row in sorted(after.segments, key=lambda s: int(s["pvseg_start"])):
        assert int(row["pvseg_start"]) == end and row["lv_name"], row
        end += int(row["pvseg_size"])
    assert end == int(after.pvs[0]["pv_pe_count"])


@packed_group
def test_restored_disk_has_every_file_and_identity(before: Inventory, after: Inventory) -> None:
    assert sum(len(files) for files in before.files.values()) > 5000
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()


@packed_group
def test_restored_machine_boots(restored: Path, image: LiveImage, tmp_path: Path) -> None:
    boot_to_login(image, restored, tmp_path / "boot.log")


@packed_group
def test_zstd_and_dd_alone_restore_the_same_bytes(packed: Path, restored: Path, tmp_path: Path) -> None:
    """The same as lvpack's own restore, which boots."""
    by_hand = tmp_path / "by-hand.img"
    script = 'zstd -dc "$1/disk.img.zst" | dd of="$2" bs=4M conv=sparse status=none'
    run(["bash", "-c", f"set -o pipefail; {script}", "restore", packed, by_hand])
    manifest = check.read_manifest(packed)
    with by_hand.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        holes = ranges.complement(manifest.block_map, len(raw))
        assert sum(hole.count for hole in holes) > 100 * MIB
        assert all(is_zero(raw[hole.start : hole.end]) for hole in holes)
    run(["cmp", "--bytes", str(by_hand.stat().st_size), by_hand, restored])


@packed_group
def test_bmaptool_restores_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    by_bmap, size = tmp_path / "by-bmap.img", check.read_manifest(packed).checksums.raw_size
    create_disk(by_bmap, size)
    run(["bmaptool", "copy", "--bmap", packed / "disk.img.bmap", packed / "disk.img.zst", by_bmap])
    raw = tmp_path / "disk.img"
    run(["zstd", "-dc", "-q", packed / "disk.img.zst", "-o", raw])
    assert sha256(by_bmap) == sha256(raw)


@packed_group
def test_deleted_data_stays_on_the_source(packed: Path, pristine: Path, tmp_path: Path) -> None:
    raw = tmp_path / "disk.img"
    run(["zstd", "-dc", "-q", packed / "disk.img.zst", "-o", raw])
    assert [holds(disk, DELETED) for disk in (pristine, raw)] == [True, False]


@packed_group
def test_workstation_commands(packed: Path, tmp_path: Path) -> None:
    cli = CliRunner()
    out = tmp_path / "server.qcow2"
    for words in (["inspect", packed], ["plan", packed], ["verify", packed], ["convert", packed, out]):
        answer = cli.invoke(main, [str(word) for word in words])
        assert answer.exit_code == 0, answer.output
    size = check.read_manifest(packed).packed.disks[0].size
    assert json.loads(run(["qemu-img", "info", "--output=json", out]).stdout)["virtual-size"] == size
    assert runs.drive(out).format == "qcow2"
    listed = json.loads(cli.invoke(main, ["list", "--json", str(packed.parent)]).stdout)["sets"]
    [row] = [row for row in listed if row["name"] == packed.name]
    assert (row["state"], row["packed_disk"]) == ("complete", size)


@packed_group
@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scratch", ["ram", "/dev/vdb"])
def test_small_machine_is_packed_by_shrinking_less(
    image: LiveImage, source: Path, source_fingerprint: str, before: Inventory, packed: Path, lab: Lab, scratch: str
) -> None:
    """Its store, in memory or on a small disk, has no room for all that the margin asks for."""
    drives = [Drive(path=source)]
    if scratch != "ram":
        drives.append(Drive(path=create_disk(lab.folder / "scratch.img", SMALL_SCRATCH)))
    words = ("lvpack.action=backup", "lvpack.name=small", f"lvpack.scratch={scratch}")
    report = lab.run(drives, *words, memory=SMALL_MEMORY)
    assert report.status == "ok", report
    assert fingerprint(source) == source_fingerprint
    assert report.sizes.store_used <= report.sizes.store
    wished = check.read_manifest(packed).packed.disks[0].size
    manifest = check.read_manifest(lab.share / "small")
    assert wished < manifest.packed.disks[0].size < report.sizes.source_disk
    assert f"would make it {human(wished)}" in " ".join(report.warnings)
    target = create_disk(lab.folder / "target.img", manifest.packed.disks[0].size)
    report = lab.run([Drive(path=target)], "lvpack.action=restore", "lvpack.source=small")
    assert report.status == "ok", report
    assert inventory.differing_files(before, inventory.take(image, Drive(path=target))) == []


@packed_group
@pytest.mark.saved_guest
def test_verify_and_altered_sets(packed: Path, lab: Lab) -> None:
    good = lab.run([], "lvpack.action=verify", f"lvpack.source={packed.name}", share=packed.parent)
    assert good.status == "ok", good
    bad = lab.share / "bad"
    run(["cp", "-r", packed, bad])
    # Far from the end, so that the rest need not be read, and then near it, when nearly all is written.
    for action, at in (("verify", 10 * MIB), ("restore", (bad / "disk.img.zst").stat().st_size - 1000000)):
        with (bad / "disk.img.zst").open("r+b") as file:
            file.seek(at)
            kept = os.pread(file.fileno(), 7, at)
            file.write(b"altered")
        target = create_disk(lab.folder / f"{action}.img", check.read_manifest(packed).packed.disks[0].size)
        report = lab.run([Drive(path=target)], f"lvpack.action={action}", "lvpack.source=bad")
        assert_ended(report, "failed", "image set 'bad'", "disk.img.zst is damaged")
        assert ("unusable" in report.message) == (action == "restore")
        with target.open("rb") as file:
            assert mark.stands_alone(file.read(MIB)), "a failed restore must not leave a disk that looks good"
        with (bad / "disk.img.zst").open("r+b") as file:
            file.seek(at)
            file.write(kept)


def without(image_set: Path, offset: int) -> tuple[Range, ...]:
    """Return the block map of a set without 2 MiB of data, from so many bytes after the begin of a piece on."""
    [image] = check.read_manifest(image_set).images
    sizes = frames.read_table(local(image_set / image.image))
    at = 0
    for (stored, count), (following, _) in pairwise(zip(sizes[::2], sizes[1::2], strict=True)):
        if min(stored, following) > pieces.PIECE // 2:
            break
        at += count
    size = image.checksums.raw_size
    hole = Range(start=at + offset, count=pieces.PIECE)
    return ranges.complement([*ranges.complement(image.block_map, size), hole], size)


def spoil(image_set: Path, folder: Path, **changes: object) -> Path:
    """Make a copy of a set with something else in its manifest, which is right by its checksum; return its image."""
    manifest = replace(check.read_manifest(image_set), **changes)  # type: ignore[arg-type]
    shutil.copytree(image_set, folder, ignore=shutil.ignore_patterns(manifest.image))
    image = folder / manifest.image
    image.hardlink_to(image_set / manifest.image)
    write_manifest(folder, manifest)
    write.write_sums(folder, manifest.images)
    return image


@packed_group
def test_spoiled_sets_leave_the_old_disks_as_they_are(packed: Path, image: LiveImage, lab: Lab) -> None:
    """But for data in a piece where the map has none: that is not known before, and then the disk is unusable."""
    good = check.read_manifest(packed)
    spoil(packed, lab.share / "good")
    with (lab.share / "good/agent.log").open("r+b") as file:
        file.write(bytes([file.read(1)[0] ^ 1]))
    spoil(packed, lab.share / "missing").unlink()
    cut = spoil(packed, lab.share / "cut")
    cut.unlink()
    cut.write_bytes((packed / good.image).read_bytes()[:MIB])
    spoil(packed, lab.share / "larger", checksums=replace(good.checksums, raw_size=good.packed_size + pieces.PIECE))
    spoil(packed, lab.share / "map", block_map=without(packed, 0), sizes=Sizes())
    spoil(packed, lab.share / "hidden", block_map=without(packed, MIB), sizes=Sizes())
    fifo, deep = (spoil(packed, lab.share / kind).with_name("manifest.json") for kind in ("fifo", "deep"))
    fifo.unlink()
    os.mkfifo(fifo)
    deep.write_text("[" * 200_000 + "]" * 200_000)
    astray = Loader(title="evil", partition=1, path="\\EFI/../../x")
    spoil(packed, lab.share / "evil", boot=(astray,))
    twice = replace(good.packed, disks=good.packed.disks * 2)
    both = replace(good.plan.source, disks=good.plan.source.disks * 2)
    plan = replace(good.plan, source=both, target=twice)
    two = {"schema": SCHEMA_SEVERAL, "packed": twice, "plan": plan, "sizes": Sizes()}
    spoil(packed, lab.share / "two", further=(replace(good.images[0], image="disk1.img.zst"),), **two)
    disks = [create_disk(lab.folder / f"{name}.img", good.packed_size + MIB) for name in ("T0", "T1")]
    for disk in disks:
        with disk.open("r+b") as file:
            for at in (0, MIB - 9, good.packed_size // 2, good.packed_size + MIB - 9):
                file.seek(at)
                file.write(b"old data.")
    before = [fingerprint(disk) for disk in disks]
    drives = tuple(Drive(path=disk, serial=disk.stem) for disk in disks)
    with nfs_share(lab.share) as share:
        machine = live(image, [helper.SHELL], drives=drives)
        with helper.at_shell(machine, accelerator(image), lab.folder / "console.log") as console:

            def run_agent(action: str, name: str, *words: str) -> Report:
                line = " ".join([f"lvpack.action={action}", f"lvpack.source={share.url}/{name}", *words])
                console.send(f"python3 -m lvpack_agent --cmdline '{line}' > /dev/null 2>&1")
                return console.result(600)

            for name, status, *causes in (
                ("nowhere", "refused", "no manifest.json"),
                ("missing", "failed", "disk.img.zst cannot be read"),
                ("cut", "failed", "1,048,576 bytes, not"),
                ("larger", "failed", "bytes as an image", "as a disk"),
                ("map", "failed", "disk.img.zst is damaged", "the block map has none"),
                ("two", "failed", "disk1.img.zst cannot be read"),
                ("fifo", "failed", "it is a FIFO, not a file"),
                ("deep", "failed", "it is nested too deep"),
                ("evil", "refused", "image set 'evil'", "boot entry 'evil'", "in no name on an EFI system partition"),
                ("good", "refused", "there are 2"),
            ):
                named = {"good": (), "two": ("lvpack.disk=T0", "lvpack.disk=T1")}.get(name, ("lvpack.disk=T0",))
                report = run_agent("restore", name, *named, "lvpack.overwrite=yes")
                assert_ended(report, status, *causes)
                assert "unusable" not in report.message
                assert [fingerprint(disk) for disk in disks] == before, name
                assert ("agent.log has changed" in "".join(report.warnings)) == (name == "good")
            assert_ended(run_agent("verify", "hidden"), "failed", "its block map has none")
            report = run_agent("restore", "hidden", "lvpack.disk=T0", "lvpack.overwrite=yes")
            assert_ended(report, "failed", "its block map has none", "unusable")
    with disks[0].open("rb") as head:
        assert mark.stands_alone(head.read(MIB))
    assert fingerprint(disks[1]) == before[1]
    answer = CliRunner().invoke(main, ["verify", str(lab.share / "hidden")])
    assert answer.exit_code and "its block map has none" in answer.output


@pytest.mark.full
@pytest.mark.saved_guest
def test_share_that_squashes_root(image: LiveImage, lab: Lab) -> None:
    """The files are nobody's then, and nobody else may read them but the group that is asked for."""
    pristine = make_sample(image, "logical")
    disk = sparse_copy(pristine, lab.folder / "disk.img")
    lab.share.chmod(0o2770)
    os.chown(lab.share, NOBODY, GROUP)

    def run_agent(*words: str) -> Report:
        with nfs_share(lab.share, squash="Root") as share:
            machine = live(image, runs.shared_arguments(words, share), drives=(Drive(path=disk),))
            with started(machine, accelerator(image), lab.folder / "console.log") as console:
                return console.result(1200)

    backup = ("lvpack.action=backup", "lvpack.readers=group")
    assert run_agent(*backup, "lvpack.name=one").status == "ok"
    paths = [lab.share / "one", *lab.share.rglob("one/**/*")]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o750, 0o640}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(NOBODY, GROUP)}
    assert run_agent("lvpack.action=verify", "lvpack.source=one").status == "ok"
    report = run_agent(*backup, "lvpack.name=one")
    assert_ended(report, "refused", "'one'", "exists")
    assert (lab.share / "one.failed.log").stat().st_mode & 0o777 == 0o640
    words = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.name=two", "lvpack.margin=8M")
    assert run_agent(*words).status == "ok"
    assert {path.stat().st_mode & 0o777 for path in lab.share.rglob("two/*")} == {0o700, 0o600}
    [journal] = lab.share.glob("inplace-*")
    assert {path.stat().st_mode & 0o777 for path in (journal, *journal.rglob("*"))} == {0o700, 0o600}


@packed_group
@pytest.mark.saved_guest
def test_restore_refuses_disks(packed: Path, lab: Lab) -> None:
    size = check.read_manifest(packed).packed.disks[0].size
    small = create_disk(lab.folder / "small.img", size - MIB)
    full = create_disk(lab.folder / "full.img", size + 512 * MIB)
    with full.open("r+b") as file:
        file.seek(size)
        file.write(b"the only copy" * MIB)
    for disk, words in ((small, "the image needs"), (full, "not empty")):
        untouched = fingerprint(disk)
        arguments = ["lvpack.action=restore", f"lvpack.source={packed.name}"]
        report = lab.run([Drive(path=disk)], *arguments, share=packed.parent)
        assert report.status == "refused" and words in report.message, report
        assert fingerprint(disk) == untouched


@pytest.fixture(scope="session")
def in_place(image: LiveImage, pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Report]:
    """The sample server after an in-place run, netbooted: its disk, its image set, and the report."""

    def make(folder: Path) -> None:
        (folder / "share").mkdir()
        disk = sparse_copy(pristine, folder / "server.img")
        lab = Lab(image=image, folder=folder, share=folder / "share")
        # A test restores all of it and compares it with the disk: more than to read it back.
        report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.readback=no", boot="pxe")
        assert report.status == "ok", report
        (folder / "report").write_text(report.line())

    folder = shared(tmp_path_factory, "in-place", make)
    return folder / "server.img", folder / "share/one", parse_result((folder / "report").read_text())


@in_place_group
def test_both_modes_reach_the_same_layout(in_place: tuple[Path, Path, Report], packed: Path) -> None:
    ours, overlay = check.read_manifest(in_place[1]), check.read_manifest(packed)
    assert differences(overlay.packed, ours.packed) == []
    assert overlay.plan.moves == ours.plan.moves


@in_place_group
def test_no_more_is_moved_than_was_said(in_place: tuple[Path, Path, Report]) -> None:
    sizes = in_place[2].sizes
    assert 0 < sizes.shrink_moved <= sizes.shrink_estimate
    assert 0 < sizes.compact_moved == sizes.compact_estimate


@in_place_group
def test_disk_packed_in_place_has_every_file_and_boots(
    in_place: tuple[Path, Path, Report], before: Inventory, image: LiveImage, tmp_path: Path
) -> None:
    """Cut to the planned size, which takes what is left of its old end: more than a boot of the disk as it is shows."""
    disk, _, report = in_place
    cut = cut_to_size(disk, report, tmp_path / "cut.img")
    after = inventory.take(image, Drive(path=cut))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert [pv["vg_free_count"] for pv in after.pvs] == ["0"]
    boot_to_login(image, cut, tmp_path / "boot.log")


@in_place_group
@pytest.mark.saved_guest
def test_dump_restores_the_disk_that_boots(in_place: tuple[Path, Path, Report], lab: Lab) -> None:
    """All that the disk holds is the same to the byte, boot loader included; the rest of the target stays empty."""
    disk, image_set, _ = in_place
    manifest = check.read_manifest(image_set)
    target = create_disk(lab.folder / "target.img", manifest.packed.disks[0].size)
    words = ("lvpack.action=restore", "lvpack.source=one")
    report = lab.run([Drive(path=target)], *words, share=image_set.parent)
    assert report.status == "ok", report
    assert manifest.block_map[0].start == 0
    with disk.open("rb") as old, target.open("rb") as new:
        for part in manifest.block_map:
            for at in range(part.start, part.end, MIB):
                count = min(MIB, part.end - at)
                assert os.pread(old.fileno(), count, at) == os.pread(new.fileno(), count, at), f"at byte {at}"


@in_place_group
@pytest.mark.full
def test_regrown_disk_is_as_it_was_and_boots(image: LiveImage, lab: Lab, pristine: Path, before: Inventory) -> None:
    disk = sparse_copy(pristine, lab.folder / "disk.img")
    report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.regrow=yes", "lvpack.compress=zstd:1")
    assert report.status == "ok", report
    after = inventory.take(image, Drive(path=disk))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert after.table == before.table
    assert after.pvs == before.pvs
    assert after.lvs == before.lvs
    assert after.segments == before.segments
    assert after.filesystems == before.filesystems
    boot_to_login(image, disk, lab.folder / "boot.log")
