from pathlib import Path

import pytest

from lvpack_agent.devices import blkid, dmsetup, lsblk, sfdisk
from lvpack_agent.devices.dmsetup import StoreUse
from lvpack_agent.errors import Refused
from lvpack_agent.filesystems import ext, swap
from lvpack_agent.layout.ranges import Range
from lvpack_agent.sizes import GIB, MIB, human, parse_size


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


def test_partition_table_and_its_script(blog: Path) -> None:
    table, sector = sfdisk.parse((blog / "sfdisk.json").read_text())
    assert table.label == "dos" and sector == 512
    assert [(p.number, p.start, p.type, p.bootable) for p in table.partitions] == [
        (1, MIB, "83", True),
        (2, 257 * MIB, "8e", False),
    ]
    script = sfdisk.render(table, sector)
    assert "1 : start=2048, size=524288, type=83, bootable\n" in script


def test_dumpe2fs(blog: Path) -> None:
    block = ext.parse((blog / "dumpe2fs-tmp.txt").read_text())
    assert (block.block_size, block.block_count, block.clean) == (4096, 131072, True)
    text = (blog / "dumpe2fs-tmp.txt").read_text()
    free = next(line for line in text.splitlines() if line.startswith("Free blocks:"))
    # Of each of the four inode tables of 512 blocks nothing was ever used, but for a block of the first.
    assert sum(r.count for r in block.free) == int(free.split(":")[1]) + 4 * 512 - 1
    assert block.tables == (Range(start=73, count=4 * 512),)
    assert not block.external_journal
    elsewhere = text.replace("Journal inode: ", "Journal device:")
    assert ext.parse(elsewhere).external_journal
    unchecked = ext.parse(text.replace(" metadata_csum\n", "\n"))
    assert sum(r.count for r in unchecked.free) == int(free.split(":")[1])
    assert block.groups == ((0, 13), (32768, 0), (65536, 0), (98304, 0))
    assert block.has_inodes_beyond(0) and not block.has_inodes_beyond(32768 * 4096)


def test_swap_header_and_blkid(blog: Path) -> None:
    header = swap.parse((blog / "swap-head.bin").read_bytes())
    assert header == swap.SwapHeader(page_size=4096, size=512 * MIB)
    facts = blkid.parse((blog / "blkid-swap.txt").read_text())
    assert (facts["TYPE"], facts["LABEL"]) == ("swap", "swap")
    assert swap.parse(bytes(65536)) is None


def test_snapshot_status() -> None:
    assert dmsetup.parse_snapshot_status("0 2048 snapshot 16/4096 16") == StoreUse(used=8192, size=2 * MIB, own=8192)
    assert dmsetup.parse_snapshot_status("0 2048 snapshot Invalid") is None


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64M", 64 * MIB), ("1.5GiB", 3 * GIB // 2)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_human() -> None:
    assert [human(n) for n in (1, 1536, 12 * GIB)] == ["1 B", "1.50 KiB", "12.0 GiB"]
