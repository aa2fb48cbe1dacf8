"""Reading partclone's maps."""

import re
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import ext, free
from lvpack_agent.image import blockmap
from lvpack_agent.layout.content import Content


def test_the_free_blocks_of_ext_are_those_that_partclone_finds(blog: Path) -> None:
    theirs = free.parse((blog / "partclone-boot.txt").read_text())
    # partclone counts all of an inode table, also what of it was never used.
    block = ext.parse(re.sub(r", \d+ unused inodes", "", (blog / "dumpe2fs-boot.txt").read_text()))
    assert blockmap.free_in(Content(type="ext4", block_size=block.block_size, free=block.free)) == theirs
    assert len(theirs) > 10


def test_map_that_lost_a_row_is_no_map(blog: Path) -> None:
    lines = (blog / "partclone-boot.txt").read_text().splitlines()
    rows = [number for number, line in enumerate(lines) if line.count("0x") == 2]
    for lost in rows[:-1]:
        with pytest.raises(Failed, match="cannot read partclone's map"):
            free.parse("\n".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(Failed):
        free.parse("")


def test_map_that_ends_early_frees_nothing_after_its_end(blog: Path) -> None:
    text = (blog / "partclone-boot.txt").read_text()
    cut = text[: text.rindex("\n", 0, len(text) // 2)]
    whole = free.parse(text)
    assert free.parse(cut) == whole[: len(free.parse(cut))]
