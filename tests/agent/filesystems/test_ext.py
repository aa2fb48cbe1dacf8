from pathlib import Path

from lvpack_agent.filesystems import ext
from lvpack_agent.layout.ranges import Range
from tests.agent.builders.recordings import DATA


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


def test_a_filesystem_with_its_journal_elsewhere() -> None:
    block = ext.parse((DATA / "external-journal/dumpe2fs-vdb1.txt").read_text())
    assert "has_journal" in block.features and block.clean
