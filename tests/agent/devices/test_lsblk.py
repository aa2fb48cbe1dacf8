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
