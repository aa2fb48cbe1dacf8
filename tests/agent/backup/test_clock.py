"""Dates that cannot be right are said; what is not known is no reason to doubt."""

from pathlib import Path

import pytest

from lvpack_agent.backup import clock, dump
from lvpack_agent.backup.clock import DAY, Clocks
from tests.agent.builders.shares import folder_share

NOON = 1_780_315_200.0  # 2026-06-01T12:00:00Z
BUILT = NOON - 30 * DAY


@pytest.mark.parametrize(
    ("clocks", "later"),
    [
        (Clocks(now=NOON, server=None, built=BUILT), ""),
        (
            Clocks(now=NOON, server=NOON + DAY / 2, built=BUILT),
            "",
        ),
        (Clocks(now=NOON, server=NOON, built=NOON + 60), ""),
    ],
)
def test_a_clock_that_may_be_right_is_not_doubted(clocks: Clocks, later: str) -> None:
    assert clocks.doubts(later) == []


@pytest.mark.parametrize(
    ("clocks", "later", "words"),
    [
        (Clocks(now=0, server=None, built=BUILT), "", ("1970-01-01 00:00", "live image", "2026-05-02 12:00")),
        (Clocks(now=NOON, server=NOON - 2 * DAY, built=BUILT), "", ("2026-06-01 12:00", "server", "2026-05-30 12:00")),
        (Clocks(now=NOON, server=NOON, built=BUILT), "a-20270101T000000Z", ("2026-06-01", "'a-20270101T000000Z'")),
    ],
)
def test_a_clock_that_cannot_be_right_is(clocks: Clocks, later: str, words: tuple[str, ...]) -> None:
    [doubt] = clocks.doubts(later)
    assert all(word in doubt for word in words), doubt


def test_the_servers_clock_is_read_from_the_share(tmp_path: Path) -> None:
    clocks = clock.read(folder_share(tmp_path))
    assert clocks.agree and clocks.server is not None and list(tmp_path.iterdir()) == []
    gone = clock.read(folder_share(tmp_path / "gone"))
    assert gone.server is None and gone.agree


def test_the_time_in_a_name() -> None:
    assert clock.stamp("web-20260601T120000Z") == clock.stamp("web-1-20260601T120000Z-12") == NOON
    assert [clock.stamp(n) for n in ("web", "web-20260601T250000Z", "20260601T120000Z", "web-20260601T120000Z.x")] == [
        None
    ] * 4


def test_two_sets_of_one_second_have_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that begins at the same date at each boot comes to the same second."""
    monkeypatch.setattr("time.gmtime", lambda *_: (2000, 1, 1, 0, 4, 0, 5, 1, 0))
    assert dump.set_name(folder_share(tmp_path), "", "web") == "web-20000101T000400Z"
    (tmp_path / "web-20000101T000400Z").mkdir()
    (tmp_path / "web-20000101T000400Z-2.partial").mkdir()
    assert dump.set_name(folder_share(tmp_path), "", "web") == "web-20000101T000400Z-3"
    assert dump.set_name(folder_share(tmp_path), "one", "web") == "one"
