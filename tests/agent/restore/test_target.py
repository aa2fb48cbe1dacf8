"""What of an image a restore writes to a disk that has no command for zeros, here a file, and what it sees again."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.image import pieces
from lvpack_agent.layout import ranges
from lvpack_agent.layout.ranges import Range
from lvpack_agent.plan.grow_disks import Place
from lvpack_agent.restore import target
from lvpack_agent.restore.target import Target
from lvpack_agent.sizes import KIB, MIB

UNIT = 4 * KIB
SIZE = 5 * MIB + UNIT
OLD = b"\xaa"


def restored(
    folder: Path,
    block_map: tuple[Range, ...],
    image: bytes,
    seed: int = 0,
    places: tuple[Place, ...] = (),
    finish: bool = True,
) -> tuple[Path, Target]:
    """Restore an image over old data, its pieces in any order."""
    path = folder / "disk"
    path.write_bytes(OLD * max([SIZE, *(place.to + place.count for place in places)]))
    device = folder / "image"
    device.write_bytes(image)
    parts, at = [], 0
    for piece in pieces.pieces(device, block_map, SIZE, pieces.LONGEST_HOLE):
        parts.append((at, piece))
        at += piece if isinstance(piece, int) else len(piece)
    random.Random(seed).shuffle(parts)
    fd = os.open(path, os.O_RDWR)
    try:
        done: list[int] = []
        disk = Target(fd, folder, block_map, SIZE, done.append, places)
        for at, piece in parts:
            disk.put(at, piece)
        assert sum(done) == SIZE
        assert path.read_bytes()[: target.HEAD] == OLD * target.HEAD, "the head is written last"
        if finish:
            disk.finish()
    finally:
        os.close(fd)
    return path, disk


@given(st.lists(st.tuples(st.integers(0, SIZE // UNIT), st.integers(0, SIZE // UNIT))), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_mapped_ranges_are_written_and_no_edge_of_a_hole_stays(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], seed: int
) -> None:
    block_map = ranges.joined(Range(start=min(p) * UNIT, count=abs(p[0] - p[1]) * UNIT) for p in pairs)
    image = random.Random(1).randbytes(SIZE)
    path, disk = restored(tmp_path_factory.mktemp("target"), block_map, image, seed)
    found = path.read_bytes()
    for part in block_map:
        assert found[part.start : part.end] == image[part.start : part.end]
    for gap in ranges.complement([Range(start=0, count=target.HEAD), *block_map], SIZE):
        rest = found[gap.start : gap.end]
        assert set(rest) <= {0, OLD[0]} and rest[0] == rest[-1] == 0
        assert gap.count >= target.SHORT_GAP or set(rest) == {0}
    seen: list[int] = []
    disk.read_again(str(path), seen.append)
    assert sum(seen) == SIZE


def test_what_a_bad_disk_gives_back_is_noticed(tmp_path: Path) -> None:
    block_map = (Range(start=3 * MIB, count=MIB),)
    path, disk = restored(tmp_path, block_map, b"x" * SIZE)
    with path.open("r+b") as file:
        file.seek(3 * MIB + 5)
        file.write(b"y")
    with pytest.raises(Failed, match="does not read back what was written"):
        disk.read_again(str(path), lambda _: None)


def test_an_image_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("w+b") as file:
        disk = Target(file.fileno(), tmp_path, (), MIB, lambda _: None)
        with pytest.raises(Failed, match="longer"):
            disk.put(MIB - 512, b"x" * 1024)


@pytest.mark.parametrize("finish", [True, False])
def test_partitions_that_move_are_written_where_they_go(tmp_path: Path, finish: bool) -> None:
    """What is in no place is not written; and what was written reads back before the head is on the disk, too."""
    image = random.Random(2).randbytes(SIZE)
    places = (
        Place(start=0, count=2 * MIB + UNIT, to=0),
        Place(start=3 * MIB, count=MIB, to=7 * MIB + UNIT),
        Place(start=4 * MIB, count=MIB, to=9 * MIB),
    )
    whole = (Range(start=0, count=SIZE),)
    path, disk = restored(tmp_path, whole, image, seed=3, places=places, finish=finish)
    found, expected = path.read_bytes(), bytearray(OLD * (10 * MIB))
    for place in places:
        expected[place.to : place.to + place.count] = image[place.start : place.start + place.count]
    assert disk.head == expected[: target.HEAD]
    if not finish:
        expected[: target.HEAD] = OLD * target.HEAD
    assert found == bytes(expected)
    disk.read_again(str(path), lambda _: None)
    with path.open("r+b") as file:
        file.seek(9 * MIB + 7)
        file.write(b"zz")
    with pytest.raises(Failed, match="does not read back"):
        disk.read_again(str(path), lambda _: None)
