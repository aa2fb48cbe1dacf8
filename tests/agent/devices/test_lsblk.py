from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices import lsblk
from lvpack_agent.errors import Refused
from lvpack_agent.sizes import GIB


def test_lsblk(blog: Path) -> None:
    disk, stick = lsblk.parse((blog / "lsblk.json").read_text())
    assert (disk.path, disk.size, disk.sector_size) == ("/dev/vda", 12 * GIB, 512)
    assert [(p.path, p.fstype) for p in disk.parts] == [("/dev/vda1", "ext4"), ("/dev/vda2", "LVM2_member")]
    assert stick.is_boot_medium and not disk.is_boot_medium


def test_disks_are_selected_by_name_or_refused(blog: Path) -> None:
    found = lsblk.parse((blog / "lsblk.json").read_text())
    assert lsblk.select(found, ("auto",)) == found[:1], "the stick is not meant"
    assert lsblk.select(found, ("/dev/vdb",)) == found[1:]
    with pytest.raises(Refused, match="cannot find disk 'WD-1'"):
        lsblk.select(found, ("WD-1",))


def test_the_stick_with_secrets_is_not_meant(blog: Path) -> None:
    """With a partition table and without; a server's disk is meant, whatever lies beside its PV."""
    disk, boot = lsblk.parse((blog / "lsblk.json").read_text())
    bare = replace(boot, path="/dev/vdc", fstype="vfat", serial="S")
    parted = replace(bare, fstype="", label="", parts=(replace(bare, path="/dev/vdc1", type="part", fstype="ext4"),))
    beside = replace(disk, parts=(*disk.parts, replace(bare, path="/dev/vda3", type="part")))
    for stick in (bare, parted):
        assert lsblk.select((beside, stick), ("auto",)) == (beside,)
        assert lsblk.select((beside, stick), ("S",)) == (stick,), "who names it means it"
    for other in (replace(bare, fstype="swap"), replace(bare, label="lvpack")):
        assert lsblk.select((other,), ("auto",)) == (other,)
