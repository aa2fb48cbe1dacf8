import io
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvpack_agent import blockmap, bmap, ext, frames, imageset, streams
from lvpack_agent.errors import Failed
from lvpack_agent.layout import Content, Range
from lvpack_agent.options import Compression
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress

ZSTD = Compression(method="zstd", level=3)
ranges = st.lists(st.builds(Range, start=st.integers(0, 20), count=st.integers(0, 6)))


@given(ranges, st.integers(0, 20))
def test_complement_holds_exactly_what_the_ranges_do_not(parts: list[Range], size: int) -> None:
    inside = {n for r in parts for n in range(r.start, r.end) if n < size}
    outside = [n for r in blockmap.complement(parts, size) for n in range(r.start, r.end)]
    assert sorted({*inside, *outside}) == list(range(size))
    assert len(outside) == len(set(outside)) == size - len(inside)


@given(ranges)
def test_joined_ranges_are_apart_and_the_same_bytes(parts: list[Range]) -> None:
    found = blockmap.joined(parts)
    assert [n for r in found for n in range(r.start, r.end)] == sorted(
        {n for r in parts for n in range(r.start, r.end)}
    )
    assert all(a.end < b.start for a, b in pairwise(found))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_pieces_are_the_ranges_with_zeros_between(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, 4 * frames.PIECE)) // 512 * 512 + 512
    where = st.integers(0, size // 512)
    parts = [
        Range(start=min(a, b) * 512, count=abs(a - b) * 512) for a, b in data.draw(st.lists(st.tuples(where, where)))
    ]
    wanted = blockmap.joined(parts)
    path = tmp_path_factory.mktemp("pieces") / "device"
    content = bytes(range(1, 252)) * (size // 251 + 1)
    path.write_bytes(content[:size])
    read = b"".join(bytes(p) if isinstance(p, int) else p for p in frames.pieces(path, wanted, size))
    expected = bytearray(size)
    for part in wanted:
        expected[part.start : part.end] = content[part.start : part.end]
    assert read == expected


@pytest.mark.starts_processes
@pytest.mark.parametrize(("method", "level", "tool"), [("zstd", 3, "zstd"), ("gzip", 1, "gzip"), ("none", 0, "cat")])
def test_an_image_decompresses_by_the_ordinary_tool(tmp_path: Path, method: str, level: int, tool: str) -> None:
    device, image = tmp_path / "device", tmp_path / ("disk.img" + streams.SUFFIXES[method])
    size = 9 * frames.PIECE + 512
    device.write_bytes(bytes(range(256)) * (size // 256))
    holes = (Range(start=frames.PIECE // 2, count=5 * frames.PIECE),)
    used = blockmap.complement(holes, size)
    compression = Compression(method=method, level=level)
    promised = imageset.write_image(device, image, compression, used, size, Progress("", size, lambda _: None))
    out = io.BytesIO()
    assert streams.read_image(image, out.write) == promised
    raw = bytearray(device.read_bytes())
    raw[holes[0].start : holes[0].end] = bytes(holes[0].count)
    assert out.getvalue() == raw
    if tool == "zstd":
        run(["zstd", "--test", "--quiet", image])
        assert image.stat().st_size < size // 50


def test_a_hole_costs_next_to_nothing() -> None:
    assert len(frames.frame_of_zeros(frames.PIECE, ZSTD)) < 200


def test_seek_table_is_found_from_the_end() -> None:
    table = frames.seek_table([(10, 20), (30, 40)])
    assert table[-4:] == bytes.fromhex("b1ea928f") and table[:4] == bytes.fromhex("5e2a4d18")
    assert int.from_bytes(table[4:8], "little") == len(table) - 8
    assert int.from_bytes(table[-9:-5], "little") == 2


@pytest.mark.starts_processes
def test_bmaptool_takes_the_map(tmp_path: Path) -> None:
    size = 3 * frames.PIECE + 512
    used = (Range(start=0, count=100), Range(start=200, count=bmap.BLOCK), Range(start=size - 512, count=512))
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        for part in used:
            file.seek(part.start)
            file.write(b"x" * part.count)
    (tmp_path / "disk.img.bmap").write_text(bmap.render(used, size))
    run(["bmaptool", "copy", "--bmap", tmp_path / "disk.img.bmap", image, tmp_path / "out"])
    assert (tmp_path / "out").read_bytes() == image.read_bytes()
    (tmp_path / "disk.img.bmap").write_text(bmap.render(used, size).replace("sha256", "sha512"))
    with pytest.raises(Failed):
        run(["bmaptool", "copy", "--bmap", tmp_path / "disk.img.bmap", image, tmp_path / "out"])


def test_the_free_blocks_are_those_that_partclone_finds(blog: Path) -> None:
    rows = re.findall(r"^0x(\w+)  0x(\w+)  ([+?])$", (blog / "partclone-boot.txt").read_text(), re.MULTILINE)
    theirs = blockmap.joined(Range(start=int(a, 16), count=int(n, 16)) for a, n, status in rows if status == "?")
    block = ext.parse((blog / "dumpe2fs-boot.txt").read_text())
    assert blockmap.free_in(Content(type="ext4", block_size=block.block_size, free=block.free)) == theirs
    assert len(theirs) > 10
