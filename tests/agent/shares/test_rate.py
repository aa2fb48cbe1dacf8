"""lvpack.rate: a token bucket by a clock of its own, and by the real one; its waits are no silence of a server."""

import random
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lvpack_agent import places
from lvpack_agent.session import Session
from lvpack_agent.shares.rate import BURST_SECONDS, MOST_SLICE, SLICE_SECONDS, Rate
from lvpack_agent.shares.stored import Sink
from lvpack_agent.shares.waiting import Waiting
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.shares import folder_share


class Clock:
    """A clock that goes on when somebody sleeps, by a little more than was asked for; sleeps are counted."""

    def __init__(self, late: float = 0.0) -> None:
        self.now, self.late, self.sleeps = 1000.0, late, 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now += seconds + self.late

    def rate(self, rate: int, **more: bool) -> Rate:
        return Rate(rate, clock=self, sleep=self.sleep, **({"hurries": lambda: True} if more.get("hurries") else {}))


def recorded(clock: Clock, taken: list[tuple[float, int]]) -> Sink:
    return lambda data: taken.append((clock.now, len(data)))


@pytest.mark.parametrize("late", [0.0, 0.02])
@pytest.mark.parametrize(
    ("rate", "piece"),
    [
        (64 * KIB, 999),
        (64 * KIB, 2 * MIB),
        (MIB, 100 * KIB),
        (50 * MIB, 100 * KIB),
        (50 * MIB, 2 * MIB),
        (3 << 30, 2 * MIB),
    ],
)
def test_ten_seconds_take_what_they_may_and_no_more(rate: int, late: float, piece: int) -> None:
    clock, taken = Clock(late), list[tuple[float, int]]()
    sink, begun = clock.rate(rate).through(recorded(clock, taken)), clock.now
    count = -(-10 * rate // piece)
    for _ in range(count):
        sink(bytes(piece))
    assert sum(size for _, size in taken) == count * piece
    assert (clock.now - begun) * rate == pytest.approx(count * piece, rel=0.05)
    # In no stretch of time more than what it may have and what may be caught up with.
    for first in range(0, len(taken), max(1, len(taken) // 50)):
        size = 0
        for at, part in taken[first:]:
            size += part
            assert size <= (at - taken[first][0] + BURST_SECONDS + 2 * SLICE_SECONDS + 0.07) * rate
    assert clock.sleeps <= (clock.now - begun) / 0.005 + 1, "it does not spin"


def test_pieces_are_cut_and_arrive_whole() -> None:
    clock, got = Clock(), bytearray()
    parts: list[int] = []
    data = random.Random(0).randbytes(2 * MIB + 5)

    def sink(part: bytes | bytearray) -> None:
        parts.append(len(part))
        got.extend(part)

    clock.rate(MIB).through(sink)(data)
    assert got == data and max(parts) <= MIB * SLICE_SECONDS
    assert all(len(part) <= MOST_SLICE for part in clock.rate(1 << 40).slices(data))


def test_what_was_not_sent_in_time_is_not_sent_at_once_later() -> None:
    clock, taken = Clock(), list[tuple[float, int]]()
    sink = clock.rate(MIB).through(recorded(clock, taken))
    clock.now += 3600  # the disk was slow, or the share was away
    begun = clock.now
    sink(bytes(MIB))
    assert clock.now - begun == pytest.approx(1 - BURST_SECONDS, abs=0.01)


def test_who_is_slower_than_the_rate_does_not_wait() -> None:
    clock = Clock()
    rate = clock.rate(MIB)
    for _ in range(20):
        clock.now += 2.0
        rate.take(100 * KIB)
    assert clock.sleeps == 0 and rate.waited == 0


def test_a_run_that_is_to_end_is_not_held_up() -> None:
    clock = Clock()
    clock.rate(64 * KIB, hurries=True).take(100 * MIB)
    assert clock.sleeps == 0


def test_blocks_that_are_read_are_slowed_and_their_source_is_closed() -> None:
    clock, closed = Clock(), list[bool]()
    begun = clock.now

    def source() -> Generator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            closed.append(True)

    blocks = clock.rate(MIB).blocks(source())
    for _ in range(5):
        assert len(next(blocks)) == MIB
    blocks.close()
    assert closed and clock.now - begun == pytest.approx(5, rel=0.05)


def test_nothing_is_slowed_without_it(tmp_path: Path) -> None:
    share = folder_share(tmp_path)
    assert share.rate is None
    with share.created(tmp_path / "file") as sink:
        sink(bytes(MIB))
    assert b"".join(share.source(tmp_path / "file").blocks()) == bytes(MIB)


def test_by_the_real_clock(tmp_path: Path) -> None:
    """Both ways through a share that is a folder. On a busy machine one of three may come out right."""
    rate = 8 * MIB
    for attempt in range(3):
        share, times = folder_share(tmp_path, Rate(rate)), []
        begun, busy = time.monotonic(), time.process_time()
        with share.created(tmp_path / f"file-{attempt}") as sink:
            for _ in range(8):
                sink(bytes(2 * MIB))
        times.append(time.monotonic() - begun)
        begun = time.monotonic()
        stored = share.source(tmp_path / f"file-{attempt}")
        assert sum(map(len, stored.blocks())) == stored.size() == 16 * MIB
        times.append(time.monotonic() - begun)
        used = time.process_time() - busy
        assert min(times) >= 2 * 0.85, "never faster, but for what may be caught up with"
        if max(times) <= 2 * 1.05 and used < 0.4:
            return
    raise AssertionError(f"{times} s, {used} s of processor time")


def test_a_wait_for_the_rate_is_no_silence_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence counts from when the server is asked: before, nobody wanted anything of it."""
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    now, said = [0.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waiting = Waiting("sftp://h/x", 0, Session(action="", out=said.append))
    for _ in range(3):
        now[0] += 3600
        waiting.asks()
        now[0] += 5
        waiting.waits()
        waiting.answered()
    assert not said and not places.AWAY.exists()
    waiting.asks()
    now[0] += 9.9
    waiting.waits()
    with pytest.raises(Exception, match="did not answer for 10 s"):
        now[0] += 0.2
        waiting.waits()


def test_an_outage_that_is_on_is_not_begun_anew_by_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    now, said = [0.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waiting = Waiting("sftp://h/x", 60, Session(action="", out=said.append))
    for now[0] in (15.0, 30.0, 45.0):
        waiting.waits()
        waiting.asks()
    now[0] = 61
    with pytest.raises(Exception, match="did not answer for 1 min"):
        waiting.waits()
