"""Layouts and states that lvpack does not pack: each is refused by name, with the way out, and its disks stay as they
were to the byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.runs import Lab, assert_ended, fingerprint
from lab.signatures import luks_image, mdadm
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.qemu import Drive, create_disk, node

pytestmark = [pytest.mark.xdist_group("refusals"), pytest.mark.saved_guest, pytest.mark.timeout(1800)]

full = pytest.mark.full
BACKUP = ("lvpack.action=backup", "lvpack.name=one")
DISK = 160 * MIB
MAKE_SECONDS = 900.0
# Where the second partition of ONE_OF_TWO begins.
SECOND = 17 * MIB


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a case is made on disks A and B, what the message must name, and what the hint must."""

    make: str
    names: tuple[str, ...]
    hint: str
    disks: int = 1


def on_one_pv(name: str, commands: str) -> str:
    return f"echo type=8e | sfdisk --quiet --label dos $A; udevadm settle\nvgcreate {name} ${{A}}1\n{commands}"


def with_changed_text(name: str, change: str, mark: str) -> str:
    """Make a VG whose metadata text, changed by sed so that mark is in it, LVM itself writes."""
    file = f"/run/{name}.text"
    return on_one_pv(
        name,
        f"lvcreate -y -L 16m -n root {name}; vgchange -a n {name}; vgcfgbackup -f {file} {name}\n"
        f"sed -i '{change}' {file}; grep {mark} {file}; vgcfgrestore -f {file} {name}",
    )


ONE_OF_TWO = "printf 'start=1M,size=16M\\nstart=17M\\n' | sfdisk --quiet --label dos"

CASES = {
    # LV types
    "mirror": Case(
        disks=2,
        make="vgcreate mirror $A $B; lvcreate -y --type mirror -m 1 --mirrorlog core -L 16m -n twin mirror",
        names=("LV 'twin'", "mirror"),
        hint="linear",
    ),
    "raid": Case(
        disks=2,
        make="vgcreate raid $A $B; lvcreate -y --type raid1 -m 1 -L 16m -n twin raid",
        names=("LV 'twin'", "raid1"),
        hint="linear",
    ),
    "integrity": Case(
        disks=2,
        make="vgcreate integrity $A $B; lvcreate -y --type raid1 -m 1 --raidintegrity y -L 16m -n safe integrity",
        names=("LV 'safe'", "integrity"),
        hint="linear",
    ),
    "thin": Case(
        make=on_one_pv("thin", "lvcreate -y --type thin-pool -L 32m -n pool thin; lvcreate -V 64m -n small thin/pool"),
        names=("LV ", "thin"),
        hint="linear",
    ),
    "snapshot": Case(
        make=on_one_pv(
            "snapped", "lvcreate -y -L 32m -n root snapped; lvcreate -y -s -L 16m -n yesterday snapped/root"
        ),
        names=("LV ", "snapshot"),
        hint="lvremove",
    ),
    "cache": Case(
        make=on_one_pv(
            "cache",
            "lvcreate -y -L 32m -n root cache; lvcreate -y -L 16m -n quick cache\n"
            "lvconvert -y --type cache --cachevol quick cache/root",
        ),
        names=("LV 'root'", "cache"),
        hint="lvconvert",
    ),
    "writecache": Case(
        make=on_one_pv(
            "writecache",
            "lvcreate -y -L 32m -n root writecache; lvcreate -y -L 16m -n quick writecache\n"
            "lvchange -a n writecache/quick; lvconvert -y --type writecache --cachevol quick writecache/root",
        ),
        names=("LV 'root'", "writecache"),
        hint="lvconvert",
    ),
    # States of a VG
    "missing": Case(
        disks=2,
        make="vgcreate missing $A $B; lvcreate -y -L 16m -n root missing $A; lvcreate -y -L 16m -n var missing $B",
        names=("VG 'missing'", "a PV of it is missing"),
        hint="attach its disk",
    ),
    "exported": Case(
        make=on_one_pv("exported", "lvcreate -y -L 16m -n root exported; vgchange -a n exported; vgexport exported"),
        names=("VG 'exported'", "exported"),
        hint="vgimport",
    ),
    "foreign": Case(
        make=on_one_pv(
            "foreign",
            "lvcreate -y -L 16m -n root foreign; vgchange -a n foreign; vgchange -y --systemid other.example foreign",
        ),
        names=("VG 'foreign'", "'other.example'"),
        hint="vgchange --systemid",
    ),
    "shared": Case(
        make=with_changed_text(
            "shared", 's/^\\tformat = .*/&\\n\\tlock_type = "sanlock"\\n\\tlock_args = "1.0.0:lvmlock"/', "sanlock"
        ),
        names=("VG 'shared'", "cluster"),
        hint="vgchange --lock-type none",
    ),
    "clustered": Case(
        make=with_changed_text("clustered", 's/^\\tstatus = ."RESIZEABLE"/&, "CLUSTERED"/', "CLUSTERED"),
        names=("VG 'clustered'", "cluster"),
        hint="vgchange",
    ),
    # What a PV is in
    "md": Case(
        disks=2,
        make=f"{ONE_OF_TWO} $A; {ONE_OF_TWO} $B; udevadm settle\n"
        "mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 ${A}2 ${B}2\n"
        "vgcreate first /dev/md0; lvcreate -y -L 16m -n root first; vgchange -a n first; mdadm --stop /dev/md0",
        names=("no VG", "md"),
        hint="linux_raid_member",
    ),
    # The PV's own signature is where it would be without md.
    "md-superblock-at-the-end": Case(
        disks=2,
        make=f"{ONE_OF_TWO} $A; {ONE_OF_TWO} $B; udevadm settle\n"
        "mdadm --create /dev/md0 --run --metadata 1.0 --level 1 --raid-devices 2 ${A}2 ${B}2\n"
        "vgcreate second /dev/md0; lvcreate -y -L 16m -n root second; vgchange -a n second; mdadm --stop /dev/md0",
        names=("no VG", "md"),
        hint="linux_raid_member",
    ),
    "luks": Case(
        make=f"{ONE_OF_TWO} $A; dd if=/host/luks.img of=$A bs=1M seek={SECOND // MIB}",
        names=("no VG", "LUKS"),
        hint="crypto_LUKS",
    ),
    # Filesystems
    "external-journal": Case(
        make=on_one_pv(
            "journal",
            "lvcreate -y -L 64m -n root journal; lvcreate -y -L 16m -n log journal\n"
            "mkfs.ext4 -q -b 4096 -O journal_dev /dev/journal/log\n"
            "mkfs.ext4 -q -b 4096 -J device=/dev/journal/log /dev/journal/root",
        ),
        names=("LV root", "journal"),
        hint="tune2fs",
    ),
}


@pytest.fixture(scope="module")
def disks(image: LiveImage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The disks of every case, by its name; all are made in one virtual machine."""
    folder = tmp_path_factory.mktemp("refusals")
    luks_image(folder / "luks.img")
    (folder / "mdadm").write_bytes(mdadm().read_bytes())
    made: dict[str, list[Path]] = {}
    drives: list[Drive] = []
    # LVM's helpers for pools are not in the live image.
    script = "#!/bin/sh -ex\n"
    script += """echo 'global { thin_check_executable="" cache_check_executable="" }' > /etc/lvm/lvmlocal.conf\n"""
    script += "install -m 755 /host/mdadm /usr/sbin/mdadm; modprobe raid1\n"
    for name, case in CASES.items():
        made[name] = [create_disk(folder / f"{name}-{n}.img", DISK) for n in range(case.disks)]
        nodes = [node(len(drives) + n) for n in range(case.disks)]
        drives += [Drive(path=path) for path in made[name]]
        script += f"A={nodes[0]} B={nodes[-1]}\n{case.make}\n"
    # It is not content with VGs of clusters and of other systems.
    script += "vgchange -a n || true\nsync\n"
    (folder / "make").write_text(script)
    answer = helper.in_live_image(image, drives, folder, "sh -ex /host/make", folder / "make.log", MAKE_SECONDS)
    assert answer.status == 0, answer.output
    return made


@pytest.fixture(autouse=True)
def no_image_set(lab: Lab) -> Iterator[None]:
    """After each test the share holds no image set, finished or not."""
    yield
    assert {p.name for p in lab.share.iterdir() if p.name.startswith("one")} <= {"one.failed.log"}


@full
@pytest.mark.parametrize("name", CASES)
def test_refused_by_name(lab: Lab, disks: dict[str, list[Path]], name: str) -> None:
    attached = disks[name][:1] if name == "missing" else disks[name]
    before = [fingerprint(path) for path in attached]
    report = lab.run([Drive(path=path) for path in attached], *BACKUP)
    assert [fingerprint(path) for path in attached] == before
    assert_ended(report, "refused", *CASES[name].names)
    assert CASES[name].hint in report.hint, report


@full
def test_cloned_disk_beside_its_original(lab: Lab, source: Path, source_fingerprint: str) -> None:
    clone = sparse_copy(source, lab.folder / "clone.img")
    report = lab.run([Drive(path=source), Drive(path=clone)], *BACKUP)
    assert_ended(report, "refused", "/dev/vda2", "/dev/vdb2", "one and the same PV")
    assert "lvpack.disk=" in report.hint
    assert fingerprint(source) == fingerprint(clone) == source_fingerprint


@full
def test_cloned_disk_may_stay_if_the_original_is_named(lab: Lab, source: Path, source_fingerprint: str) -> None:
    clone = sparse_copy(source, lab.folder / "clone.img")
    report = lab.run([Drive(path=source), Drive(path=clone)], "lvpack.action=plan", "lvpack.disk=/dev/vda")
    assert report.status == "ok", report
    assert fingerprint(source) == fingerprint(clone) == source_fingerprint


@full
def test_two_paths_to_one_disk(lab: Lab, source: Path, source_fingerprint: str) -> None:
    """As a storage network shows a disk to a system without multipath-tools: twice, with one serial number."""
    path = Drive(path=source, temporary=True, serial="LUN-7")
    report = lab.run([path, path], *BACKUP)
    assert_ended(report, "refused", "/dev/vda2", "/dev/vdb2", "two paths", "LUN-7")
    assert "lvpack.disk=/dev/" in report.hint
    assert fingerprint(source) == source_fingerprint
