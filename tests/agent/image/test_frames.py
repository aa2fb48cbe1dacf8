import random
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.image import bmap, files, frames, pieces, zstd
from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.pacing import Pace
from lvpack_agent.layout import ranges
from lvpack_agent.layout.ranges import Range
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.stored import local
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.sets import write_image

ZSTD = Compression(method="zstd", level=3)


@given(st.data())
@settings(max_examples=60)
def test_pieces_are_the_ranges_with_zeros_between(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, 4 * pieces.PIECE)) // 512 * 512 + 512
    where = st.integers(0, size // 512)
    parts = [
        Range(start=min(a, b) * 512, count=abs(a - b) * 512) for a, b in data.draw(st.lists(st.tuples(where, where)))
    ]
    wanted = ranges.joined(parts)
    path = tmp_path_factory.mktemp("pieces") / "device"
    content = bytes(range(1, 252)) * (size // 251 + 1)
    path.write_bytes(content[:size])
    longest = data.draw(st.sampled_from([pieces.PIECE, 3 * pieces.PIECE]))
    found = list(pieces.pieces(path, wanted, size, longest))
    read = b"".join(bytes(p) if isinstance(p, int) else p for p in found)
    assert all(0 < (p if isinstance(p, int) else len(p)) <= longest for p in found)
    expected = bytearray(size)
    for part in wanted:
        expected[part.start : part.end] = content[part.start : part.end]
    assert read == expected


def image_of(tmp_path: Path, compression: Compression, level: int) -> tuple[Path, Checksums, bytearray]:
    """Write the image of a device of ten pieces with a hole; return it, its checksums and what it decompresses to."""
    device, image = tmp_path / "device", tmp_path / ("disk.img" + files.SUFFIXES[compression.method])
    size = 9 * pieces.PIECE + 512
    device.write_bytes(bytes(range(256)) * (size // 256))
    holes = (Range(start=pieces.PIECE // 2, count=5 * pieces.PIECE),)
    used = ranges.complement(holes, size)
    progress, pace = Progress("", size, lambda _: None), Pace(workers=2, fixed=level)
    promised = write_image(device, image, compression, used, size, progress, pace)
    raw = bytearray(device.read_bytes())
    raw[holes[0].start : holes[0].end] = bytes(holes[0].count)
    return image, promised, raw


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("method", "level", "tool"),
    [("zstd", 3, "zstd -dc"), ("zstd", 0, "zstd -dc"), ("gzip", 1, "gzip -dc"), ("none", 0, "cat")],
)
def test_an_image_decompresses_by_us_and_by_the_ordinary_tool(
    tmp_path: Path, method: str, level: int, tool: str
) -> None:
    image, promised, raw = image_of(tmp_path, Compression(method=method, level=level), level)
    out = bytearray(len(raw))

    def put(at: int, piece: pieces.Piece) -> None:
        if not isinstance(piece, int):
            out[at : at + len(piece)] = piece

    assert frames.read(local(image), put) == promised
    assert out == raw
    run(["sh", "-c", f"{tool} < {image} > {image}.raw"])
    assert Path(f"{image}.raw").read_bytes() == raw
    assert method != "zstd" or image.stat().st_size < len(raw) // 50


@pytest.mark.parametrize("at", [100, -100, -12])
def test_a_damaged_image_is_told(tmp_path: Path, at: int) -> None:
    """In a frame, in the seek table, and where that says how long it is."""
    image, promised, _ = image_of(tmp_path, ZSTD, 3)
    data = bytearray(image.read_bytes())
    data[at] ^= 0x10
    image.write_bytes(data)
    try:
        found = frames.read(local(image), lambda at, piece: None)
    except zstd.Damaged:
        return
    assert found.stored_sha256 != promised.stored_sha256


@pytest.mark.parametrize("bit", [24, 30])
def test_no_memory_is_taken_for_what_a_damaged_seek_table_says(tmp_path: Path, bit: int) -> None:
    image, *_ = image_of(tmp_path, ZSTD, 3)
    sizes = zstd.read_seek_table(local(image))
    end = image.stat().st_size - 9 - 4 * len(sizes)
    data = bytearray(image.read_bytes())
    data[end + 4 + bit // 8] ^= 1 << bit % 8  # the raw size of the first frame
    image.write_bytes(data)
    with pytest.raises(zstd.Damaged, match="seek table"):
        frames.read(local(image), lambda at, piece: None)


MANY_THREADS = """
from lvpack_agent.image import zstd
from lvpack_agent.parallel import Window
from tests.agent.builders.sets import write_image
data = [bytes([number]) * 300_000 for number in range(40)]
def check(number):  # no thread has used zstd before these
    assert zstd.decompress(zstd.compress(data[number], 1), 300_000) == data[number]
with Window(8, "try", waiting=40) as pool:
    for number in range(40):
        pool.submit(check, number)
"""


@pytest.mark.starts_processes
def test_threads_do_not_share_what_zstd_works_in() -> None:
    for _ in range(8):
        # Memory that was given back is overwritten (mallopt(3)), so that its use is seen.
        run([sys.executable, "-c", MANY_THREADS], env={"MALLOC_PERTURB_": "165"})


@pytest.mark.starts_processes
@pytest.mark.parametrize("count", [1, 512, 128 * KIB, 2 * MIB, 2 * MIB + 4096, 64 * MIB])
def test_frames_of_holes(count: int) -> None:
    assert zstd.decompress(zstd.hole(count), count) == bytes(count)
    assert len(zstd.hole(count)) < 20 + count // 30000


def test_holes_are_joined_and_a_tebibyte_of_them_is_quick(tmp_path: Path) -> None:
    path, size = tmp_path / "device", 1 << 40
    with path.open("wb") as file:
        file.truncate(size)
    used = (Range(start=0, count=512), Range(start=size - 512, count=512))
    stored = 0

    def sink(data: bytes | bytearray) -> None:
        nonlocal stored
        stored += len(data)

    begun = time.process_time()
    source = pieces.pieces(path, used, size, pieces.LONGEST_HOLE)
    found = frames.write(source, ZSTD, sink, lambda _: None, Pace(workers=2))
    assert found.raw_size == size and stored < size // 25000
    assert time.process_time() - begun < 60


def test_seek_table_is_found_from_the_end(tmp_path: Path) -> None:
    table = zstd.seek_table([10, 20, 30, 40])
    assert table[-4:] == bytes.fromhex("b1ea928f") and table[:4] == bytes.fromhex("5e2a4d18")
    assert int.from_bytes(table[4:8], "little") == len(table) - 8
    assert int.from_bytes(table[-9:-5], "little") == 2
    (tmp_path / "image").write_bytes(bytes(40) + table)
    assert zstd.read_seek_table(local(tmp_path / "image")).tolist() == [10, 20, 30, 40]
    for damaged in (bytes(41) + table, table[:10], bytes(40) + table[:-1], b""):
        (tmp_path / "image").write_bytes(damaged)
        with pytest.raises(zstd.Damaged):
            zstd.read_seek_table(local(tmp_path / "image"))


@pytest.mark.parametrize("broken", ["source", "sink"])
def test_an_error_ends_a_dump(broken: str) -> None:
    def source() -> Generator[pieces.Piece]:
        yield b"x" * 512
        if broken == "source":
            raise OSError("gone")
        while True:
            yield b"x" * 512

    def sink(data: bytes | bytearray) -> None:
        if broken == "sink":
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        frames.write(source(), ZSTD, sink, lambda _: None, Pace(workers=2))


@pytest.mark.starts_processes
def test_bmaptool_takes_the_map(tmp_path: Path) -> None:
    size = 3 * pieces.PIECE + 512
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


@pytest.mark.parametrize("method", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("fragments", [1, 40])
def test_no_image_is_larger_than_was_said(tmp_path: Path, method: str, fragments: int) -> None:
    """Of data that does not compress, in one range or in many with holes between them."""
    compression = Compression(method=method, level=1 if method != "none" else 0)
    size = 40 * MIB
    device = tmp_path / "device"
    device.write_bytes(random.Random(1).randbytes(size))
    step = size // fragments
    count = step if fragments == 1 else 4 * KIB
    used = tuple(Range(start=number * step, count=count) for number in range(fragments))
    progress, pace = Progress("", size, lambda _: None), Pace(workers=2, fixed=compression.level)
    made = write_image(device, tmp_path / "image", compression, used, size, progress, pace)
    most = frames.most(used, size, compression)
    assert made.stored_size <= most
    if fragments == 1:
        assert most <= size + size // 100, "a bound that is no guess refuses no more than it has to"
