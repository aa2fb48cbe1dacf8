"""The block map as bmaptool(1) reads it: an XML file of blocks, format 2.0 (bmaptools: BmapCreate.py)."""

import hashlib
from collections.abc import Sequence

from lvpack_agent.layout.ranges import Range
from lvpack_agent.sizes import round_up

BLOCK = 4096
_NO_CHECKSUM = "0" * 64


def blocks(ranges: Sequence[Range], size: int) -> list[tuple[int, int]]:
    """Return (first, last) of the runs of blocks that the ranges of bytes touch, each block in one of them."""
    found: list[tuple[int, int]] = []
    for part in ranges:
        first, last = part.start // BLOCK, (min(part.end, size) - 1) // BLOCK
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def render(ranges: Sequence[Range], size: int) -> str:
    """Return the file for an image of size bytes; ranges are ascending and apart.

    Its own checksum is that of the text with zeros in the checksum's place.
    """
    mapped = blocks(ranges, size)
    rows = "".join(
        f"        <Range>{a}-{b}</Range>\n" if a != b else f"        <Range>{a}</Range>\n" for a, b in mapped
    )
    text = (
        '<?xml version="1.0" ?>\n'
        '<bmap version="2.0">\n'
        f"    <ImageSize>{size}</ImageSize>\n"
        f"    <BlockSize>{BLOCK}</BlockSize>\n"
        f"    <BlocksCount>{round_up(size, BLOCK) // BLOCK}</BlocksCount>\n"
        f"    <MappedBlocksCount>{sum(b - a + 1 for a, b in mapped)}</MappedBlocksCount>\n"
        "    <ChecksumType>sha256</ChecksumType>\n"
        f"    <BmapFileChecksum>{_NO_CHECKSUM}</BmapFileChecksum>\n"
        f"    <BlockMap>\n{rows}    </BlockMap>\n"
        "</bmap>\n"
    )
    return text.replace(_NO_CHECKSUM, hashlib.sha256(text.encode()).hexdigest())
