"""Small disks with what the sample server lacks, over NFS 3 and with other compressors: everything arrives.

Its tests share how a disk is packed, put back and compared; that is why it is long.
"""

from pathlib import Path

import pytest

from lab.runs import IN_PLACE, Lab, assert_ended, cut_to_size, fingerprint
from lvpack_agent.image import check
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import boot_to_login, sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive, create_disk
from lvpack_builder.lab.sample.server import drives_of, make_disks, make_sample

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(1800)]
full = pytest.mark.full

SECTOR = 512


def identities(found: Inventory, *changing: str) -> list[object]:
    """Return the table's GUID, its kind, and its rows without what a smaller disk must change."""
    rows = [{k: v for k, v in p.items() if k not in (*changing, "size", "node")} for p in found.table["partitions"]]
    return [found.table["id"], found.table["label"], *rows]


@pytest.mark.parametrize(
    ("recipe", "whole", "compress", "nfs", "scratch"),
    [
        pytest.param("gpt", 2, "gzip:1", 3, "ram", marks=full),
        pytest.param("logical", 0, "zstd:1", 4, "share", marks=full),
        pytest.param("gpt", 2, "none", 4, "share", marks=full),
    ],
)
def test_disk_comes_back(
    image: LiveImage, lab: Lab, recipe: str, whole: int, compress: str, nfs: int, scratch: str
) -> None:
    source = sparse_copy(make_sample(image, recipe), lab.folder / "source.img")
    before, untouched = inventory.take(image, Drive(path=source)), fingerprint(source)

    words = ["lvpack.action=backup", "lvpack.name=one", f"lvpack.compress={compress}", "lvpack.margin=8M"]
    words.append(f"lvpack.scratch={scratch}")
    report = lab.run([Drive(path=source)], *words, nfs=nfs)
    assert report.status == "ok", report
    assert fingerprint(source) == untouched
    assert [p.name for p in lab.share.iterdir()] == ["one"], "a store on the share goes with the run"
    manifest = check.read_manifest(lab.share / "one")
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=lab.share / "one")

    size = manifest.packed.disks[0].size + 300 * MIB
    assert size < source.stat().st_size
    # Another disk beside it, and something old on the target that may be overwritten.
    target, other = create_disk(lab.folder / "target.img", size), create_disk(lab.folder / "other.img", size)
    with target.open("r+b") as file:
        for at in range(0, size, 10 * MIB):
            file.seek(at)
            file.write(b"old" * SECTOR)
    words = ["lvpack.action=restore", "lvpack.source=one", "lvpack.disk=TARGET", "lvpack.overwrite=yes"]
    words.append("lvpack.grow=none")
    report = lab.run([Drive(path=other), Drive(path=target, serial="TARGET")], *words, nfs=nfs)
    assert report.status == "ok", report

    after = inventory.take(image, Drive(path=target))
    assert len(before.whole) == whole
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert [pv["vg_free_count"] for pv in after.pvs] == ["0"]
    assert identities(after) == identities(before)
    ends = {p["start"] + p["size"] for p in after.table["partitions"] if p["type"] in ("5", "8e")}
    assert len(ends) <= 1, "an extended partition ends with the PV in it"
    if before.table["label"] == "gpt":
        with target.open("rb") as file:
            file.seek(-SECTOR, 2)
            assert file.read(8) == b"EFI PART", "the backup GPT belongs into the last sector"
    assert "No errors detected" in run(["sfdisk", "--verify", target]).stdout


def copies(image: LiveImage, lab: Lab, recipe: str) -> list[Path]:
    """Return copies of a recipe's disks, which a test may write to."""
    pristine = make_disks(image, recipe)
    return [sparse_copy(disk, lab.folder / f"source{number}.img") for number, disk in enumerate(pristine)]


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param("mixed", marks=full),
        pytest.param("whole", marks=full),
        pytest.param("logicals", marks=full),
        pytest.param("sectors", marks=full),
        pytest.param("features", marks=full),
        pytest.param("odd", marks=full),
        pytest.param("areas", marks=full),
        pytest.param("giant", marks=full),
        pytest.param("three", marks=full),
    ],
)
def test_layout_comes_back(image: LiveImage, lab: Lab, recipe: str) -> None:
    assert_comes_back(image, lab, recipe, copies(image, lab, recipe))


@full
def test_pv_that_remains_gets_the_metadata_area_that_it_lacks(image: LiveImage, lab: Lab) -> None:
    """The PV of VG sys on the first disk loses its area, so that all metadata is on the disk that is collapsed."""
    disks = copies(image, lab, "mixed")
    (lab.folder / "take").write_text(
        "set -e; vgcfgbackup -f /run/text sys; uuid=$(pvs --noheadings -o pv_uuid /dev/vda2)\n"
        "pvcreate --yes -ff --uuid $uuid --restorefile /run/text --pvmetadatacopies 0 /dev/vda2\n"
        "vgcfgrestore --yes --force -f /run/text sys; test $(pvs --noheadings -o pv_mda_count /dev/vda2) = 0\n"
    )
    lab.prepare(drives_of("mixed", disks), "sh -x /host/take")
    assert_comes_back(image, lab, "mixed", disks)


def assert_comes_back(image: LiveImage, lab: Lab, recipe: str, sources: list[Path]) -> None:
    """A recipe's disks are packed and restored, all that they hold is there again, and they are as they were."""
    drives = drives_of(recipe, sources)
    before, untouched = inventory.take(image, *drives), [fingerprint(disk) for disk in sources]
    report = lab.run(drives, "lvpack.action=backup", "lvpack.name=one", "lvpack.margin=8M")
    assert report.status == "ok", report
    assert [fingerprint(disk) for disk in sources] == untouched
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=lab.share / "one")
    manifest = check.read_manifest(lab.share / "one")
    [packed] = manifest.packed.disks
    assert packed.size < sum(disk.stat().st_size for disk in sources)

    target = create_disk(lab.folder / "target.img", packed.size + 5 * MIB)
    restored = drives_of(recipe, [target])
    report = lab.run(restored, "lvpack.action=restore", "lvpack.source=one", "lvpack.grow=none")
    assert report.status == "ok", report
    after = inventory.take(image, *restored)
    assert inventory.differing_files(before, after) == []
    kept = {name: value for name, value in after.identities().items() if not name.startswith("PV ")}
    assert kept.items() <= before.identities().items()
    assert {pv["pv_uuid"] for pv in after.pvs} <= {pv["pv_uuid"] for pv in before.pvs}
    assert [lv["lv_name"] for lv in after.lvs] == [lv["lv_name"] for lv in before.lvs]
    areas = {pv["pv_uuid"]: int(pv["pv_mda_count"]) for pv in before.pvs}
    assert [int(pv["pv_mda_count"]) for pv in after.pvs] == [max(1, areas[pv["pv_uuid"]]) for pv in after.pvs]
    assert {pv["vg_free_count"] for pv in after.pvs} == {"0"}
    if before.table["partitions"]:
        assert identities(after, "start") == identities(before, "start")
        if packed.sector_size == SECTOR:  # sfdisk takes a file for a disk of such sectors
            assert "No errors detected" in run(["sfdisk", "--verify", target]).stdout


@full
def test_server_without_a_boot_partition_boots(image: LiveImage, lab: Lab) -> None:
    """GRUB knows the LV by the UUIDs of VG and LV, which stay, wherever its extents are."""
    source = sparse_copy(make_sample(image, "noboot"), lab.folder / "source.img")
    before, untouched = inventory.take(image, Drive(path=source)), fingerprint(source)
    assert {name for name in before.filesystems if name.startswith("partition")} == {"partition 1"}
    report = lab.run([Drive(path=source)], "lvpack.action=backup", "lvpack.name=one")
    assert report.status == "ok", report
    assert fingerprint(source) == untouched
    target = create_disk(lab.folder / "target.img", report.sizes.packed_disk + 100 * MIB)
    assert target.stat().st_size < source.stat().st_size
    report = lab.run([Drive(path=target)], "lvpack.action=restore", "lvpack.source=one")
    assert report.status == "ok", report
    after = inventory.take(image, Drive(path=target))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    boot_to_login(image, target, lab.folder / "boot.log")


@full
def test_each_disk_is_packed_by_itself(image: LiveImage, lab: Lab) -> None:
    """One LV of the VG is striped over both disks, another goes on from one to the other; so they come back."""
    sources = [sparse_copy(disk, lab.folder / f"source{n}.img") for n, disk in enumerate(make_disks(image, "mixed"))]
    drives = drives_of("mixed", sources)
    before, untouched = inventory.take(image, *drives), [fingerprint(disk) for disk in sources]
    words = ["lvpack.action=backup", "lvpack.name=one", "lvpack.margin=8M", "lvpack.collapse=no"]
    report = lab.run(drives, *words)
    assert report.status == "ok", report
    assert [fingerprint(disk) for disk in sources] == untouched
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=lab.share / "one")
    manifest = check.read_manifest(lab.share / "one")
    sizes = [disk.size for disk in manifest.packed.disks]
    assert len(sizes) == 2 and report.sizes.packed_disk == sum(sizes)
    assert all(size < disk.stat().st_size for size, disk in zip(sizes, sources, strict=True))

    targets = [create_disk(lab.folder / f"target{n}.img", size + 5 * MIB) for n, size in enumerate(sizes)]
    with targets[1].open("r+b") as file:
        file.write(b"old" * SECTOR)
    named = [Drive(path=path, serial=f"T{n}") for n, path in enumerate(targets)]
    restore = ["lvpack.action=restore", "lvpack.source=one", "lvpack.grow=none", "lvpack.disk=T0", "lvpack.disk=T1"]
    empty = fingerprint(targets[0])
    assert_ended(lab.run(named, *restore), "refused", "not empty")
    assert fingerprint(targets[0]) == empty, "no disk is written before all are checked"
    report = lab.run(named, *restore, "lvpack.overwrite=yes")
    assert report.status == "ok", report
    after = inventory.take(image, *named)
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert [lv["lv_name"] for lv in after.lvs] == [lv["lv_name"] for lv in before.lvs]
    assert {pv["vg_free_count"] for pv in after.pvs} == {"0"}
    assert identities(after, "start") == identities(before, "start")
    assert "No errors detected" in run(["sfdisk", "--verify", targets[0]]).stdout


# Runs in the live image: a disk that is an ext4 filesystem as a whole, one of GPT with two, one with a VG of its own
# and an XFS on that.
FURTHER = r"""
set -e
mkfs.ext4 -q -F -L archive /dev/vdc
printf 'label: gpt\nstart=1MiB, size=64MiB, name="not for EFI"\nsize=340MiB, name=logs\n' | sfdisk -q /dev/vdd
udevadm settle
busybox mkdosfs -n FAT /dev/vdd1
mkfs.xfs -q -L logs /dev/vdd2
vgcreate --physicalextentsize 1M other /dev/vde
lvcreate --yes -n spare -l 40 other
lvcreate --yes -n store -l 480 other
lvremove --yes other/spare
mkfs.xfs -q /dev/other/store
for device in /dev/vdc /dev/vdd1 /dev/vdd2 /dev/other/store; do
    mkdir -p /mnt; mount $device /mnt
    mkdir /mnt/etc; for n in 1 2 3; do head -c 5M /dev/urandom > /mnt/etc/$n; done
    echo "wrong" > /mnt/etc/hostname; echo "# none" > /mnt/etc/fstab
    sync; rm /mnt/etc/2; umount /mnt
done
vgchange --activate n other
"""


def test_further_disks_come_too(image: LiveImage, lab: Lab) -> None:
    """Those that share no VG with the server are listed and left out, unless they are named: an image each."""
    sources = copies(image, lab, "mixed")
    sources += [create_disk(lab.folder / f"further{n}.img", n * 100 * MIB) for n in (4, 5, 6)]
    named = [Drive(path=path, serial=f"S{n}") for n, path in enumerate(sources)]
    (lab.folder / "make").write_text(FURTHER)
    lab.prepare(named, "sh -ex /host/make")
    before, untouched = inventory.take(image, *named), [fingerprint(disk) for disk in sources]

    report = lab.run(named, "lvpack.action=plan", "lvpack.vg=sys")
    assert report.status == "ok", report
    assert [f"serial S{n}" in " ".join(report.warnings) for n in range(5)] == [False, False, True, True, True]

    words = [f"lvpack.disk=S{n}" for n in (2, 0, 1, 3, 4)]
    report = lab.run(named, "lvpack.action=backup", "lvpack.name=one", "lvpack.margin=8M", *words)
    assert report.status == "ok", report
    assert "left out" not in " ".join(report.warnings)
    assert [fingerprint(disk) for disk in sources] == untouched
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=lab.share / "one")
    manifest = check.read_manifest(lab.share / "one")
    assert [disk.serial for disk in manifest.plan.source.disks] == ["S0", "S4", "S2", "S3", "S1"], "S1 is collapsed"
    sizes = [disk.size for disk in manifest.packed.disks]
    assert len(sizes) == 4 and sizes[2] == 400 * MIB, "a filesystem without a partition is kept as it is"
    assert sizes[3] == (1 + 64 + 340 + 1) * MIB and sizes[1] < 320 * MIB, "the XFS was made anew"
    assert sum(r.count for r in manifest.images[2].block_map) < 100 * MIB, "but its free blocks are not read"

    targets = [create_disk(lab.folder / f"target{n}.img", size + 5 * MIB) for n, size in enumerate(sizes)]
    restored = [Drive(path=path, serial=f"T{n}") for n, path in enumerate(targets)]
    words = [f"lvpack.disk=T{n}" for n in range(4)]
    report = lab.run(restored, "lvpack.action=restore", "lvpack.source=one", "lvpack.grow=none", *words)
    assert report.status == "ok", report
    after = inventory.take(image, *restored)
    assert inventory.differing_files(before, after) == []
    assert len([name for name in before.files if name.startswith("filesystem ")]) == 3
    kept = {name: value for name, value in after.identities().items() if not name.startswith("PV ")}
    assert kept.items() <= before.identities().items()
    assert {pv["vg_name"] for pv in after.pvs} == {"sys", "data.2", "other"}
    assert {pv["vg_free_count"] for pv in after.pvs} == {"0"}
    assert identities(after, "start") == identities(before, "start")
    assert "No errors detected" in run(["sfdisk", "--verify", targets[3]]).stdout


@full
@pytest.mark.parametrize("recipe", ["whole", "odd", "noboot", "giant"])
def test_in_place_too(image: LiveImage, lab: Lab, recipe: str) -> None:
    pristine = make_sample(image, recipe)
    disk = sparse_copy(pristine, lab.folder / "disk.img")
    report = lab.run([Drive(path=disk)], *IN_PLACE, "lvpack.margin=8M", "lvpack.dump=no")
    assert report.status == "ok", report
    cut = cut_to_size(disk, report, lab.folder / "cut.img")
    before, after = (inventory.take(image, Drive(path=d)) for d in (pristine, cut))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    if recipe == "noboot":
        boot_to_login(image, cut, lab.folder / "boot.log")


@full
@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("mixed", ("in place: its disks have 3 PVs", "/dev/vda2", "/dev/vda3", "/dev/vdb")),
        ("logicals", ("partition 3 stands after the PV",)),
        ("areas", ("partition 2 stands after the PV",)),
    ],
)
def test_in_place_refuses_what_it_would_have_to_move(
    image: LiveImage, lab: Lab, recipe: str, words: tuple[str, ...]
) -> None:
    disks = [sparse_copy(d, lab.folder / f"{n}.img") for n, d in enumerate(make_disks(image, recipe))]
    untouched = [fingerprint(disk) for disk in disks]
    assert_ended(lab.run(drives_of(recipe, disks), *IN_PLACE), "refused", *words)
    assert [fingerprint(disk) for disk in disks] == untouched
