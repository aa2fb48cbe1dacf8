"""What is still read of a disk with bad sectors, and how long that may take: a disk that is a function."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.image import pieces, salvage
from lvpack_agent.image.salvage import Salvage, Unreadable
from lvpack_agent.layout.ranges import Range
from lvpack_agent.sizes import KIB, MIB

SECTOR = 512
SIZE = 256 * KIB
DATA = bytes(n * 7 % 251 + 1 for n in range(SIZE))


class Disk:
    """A disk with bad sectors; each attempt that fails takes seconds."""

    def __init__(self, bad: set[int], seconds: float = 0, number: int = errno.EIO) -> None:
        self.bad, self.seconds, self.number = bad, seconds, number
        self.now = self.pause = 0.0
        self.failures = 0

    def read(self, at: int, count: int) -> bytes:
        assert at % SECTOR == count % SECTOR == 0
        self.now += self.pause
        if any(at <= sector * SECTOR < at + count for sector in self.bad):
            self.now += self.seconds
            self.failures += 1
            raise OSError(self.number, os.strerror(self.number))
        return DATA[at : at + count]


def filled(disk: Disk, at: int, count: int) -> tuple[bytes, Salvage]:
    view = bytearray(count)
    made = Salvage(disk.read, SECTOR, clock=lambda: disk.now)
    made.fill(memoryview(view), at)
    return bytes(view), made


@given(
    st.sets(st.integers(0, SIZE // SECTOR - 1), max_size=20),
    st.integers(0, SIZE - 1),
    st.integers(1, SIZE),
)
@settings(deadline=None)
def test_all_but_the_bad_sectors_is_read(bad: set[int], at: int, count: int) -> None:
    count = min(count, SIZE - at)
    found, made = filled(Disk(bad), at, count)
    zeroed = {s for part in made.lost for s in range(part.start // SECTOR, part.end // SECTOR)}
    assert zeroed == {s for s in bad if at // SECTOR <= s <= (at + count - 1) // SECTOR}
    for n in range(count):
        assert found[n] == (0 if (at + n) // SECTOR in bad else DATA[at + n])
    assert not made.given_up


def test_a_single_bad_sector_costs_few_attempts() -> None:
    disk = Disk({77})
    filled(disk, 0, SIZE)
    assert disk.failures == 3, "one for each size of step"


def test_a_disk_that_takes_its_time_gets_a_minute_for_a_region() -> None:
    disk = Disk(set(range(0, SIZE // SECTOR, 2)), seconds=7)
    _, made = filled(disk, 0, SIZE)
    assert disk.now < salvage.REGION_SECONDS + 2 * 7
    assert made.given_up and sum(part.count for part in made.lost) > sum(part.count for part in made.given_up)


def test_a_pause_of_what_has_the_store_makes_no_readable_byte_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that are answered wait for a share, too, as long as that is silent."""
    disk = Disk({77})
    disk.pause = 1000
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    places.AWAY.touch()
    _, made = filled(disk, 0, SIZE)
    assert made.lost == (Range(start=77 * SECTOR, count=SECTOR),) and not made.given_up
    places.AWAY.unlink()
    disk = Disk(set())
    disk.pause = 1000
    assert filled(disk, 0, SIZE)[0] == DATA


def test_a_sector_that_the_disk_gives_after_all_is_used() -> None:
    disk = Disk({8, 9, 100})
    asked: list[int] = []

    def judge(lost: tuple[Range, ...]) -> bool:
        asked.append(lost[0].start // SECTOR)
        disk.bad.discard(8)
        return asked.count(asked[-1]) < 3 and lost[0].start < 100 * SECTOR

    view = bytearray(SIZE)
    made = Salvage(disk.read, SECTOR, judge)
    made.fill(memoryview(view), 0)
    assert asked == [8, 9, 9, 9]
    assert made.lost == (Range(start=9 * SECTOR, count=SECTOR), Range(start=100 * SECTOR, count=SECTOR))
    assert view[: 9 * SECTOR] == DATA[: 9 * SECTOR]


def test_what_is_no_bad_sector_is_not_skipped() -> None:
    with pytest.raises(OSError, match="No such device"):
        filled(Disk({3}, number=errno.ENXIO), 0, SIZE)


def test_the_cause_is_judged_by_what_was_tried() -> None:
    disk = Disk({8, 9})
    judged: list[tuple[Range, ...]] = []

    def judge(lost: tuple[Range, ...]) -> bool:
        judged.append(lost)
        return False

    made = Salvage(disk.read, SECTOR, judge)
    made.fill(memoryview(bytearray(SIZE)), 0)
    assert judged == [(Range(start=4096, count=1024),)]


def test_too_many_places_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "MOST_PLACES", 3)
    with pytest.raises(Failed, match="in more than 3 places") as caught:
        filled(Disk({1, 3, 5, 7}), 0, SIZE)
    assert "ddrescue" in caught.value.hint


def test_pieces_stop_or_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of the third MiB fails as a whole."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 5 * MIB)
    real = os.preadv

    def preadv(fd: int, buffers: list[memoryview], at: int) -> int:
        if at < 2 * MIB + 4096 <= at + len(buffers[0]):
            if at < 2 * MIB:
                return real(fd, [buffers[0][: 2 * MIB - at]], at)
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    whole = (Range(start=0, count=5 * MIB),)
    with pytest.raises(Unreadable, match=r"at byte 2,097,152: Input/output error") as caught:
        list(pieces.pieces(path, whole, 5 * MIB))
    assert (caught.value.at, caught.value.number) == (2 * MIB, errno.EIO)

    def read(at: int, count: int) -> bytes:
        if at <= 2 * MIB + 4096 < at + count:
            raise OSError(errno.EIO, "")
        return b"x" * count

    made = Salvage(read, SECTOR)
    found = b"".join(bytes(p) for p in pieces.pieces(path, whole, 5 * MIB, salvage=made) if not isinstance(p, int))
    assert made.lost == (Range(start=2 * MIB + 4096, count=SECTOR),)
    assert found == b"x" * (2 * MIB + 4096) + bytes(SECTOR) + b"x" * (3 * MIB - 4096 - SECTOR)
