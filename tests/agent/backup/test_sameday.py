"""Which image sets on a share keep a machine from being packed a second time in a day."""

import json
import os
from pathlib import Path

import pytest

from lvpack_agent.backup import sameday
from lvpack_agent.backup.clock import Clocks
from lvpack_agent.errors import Refused
from lvpack_agent.session import Session
from tests.agent.builders.oddities import spoil
from tests.agent.builders.shares import folder_share

NOON = 1_780_315_200.0  # 2026-06-01T12:00:00Z
DAY = 86400.0
VG, OTHER = "BMuc0A-yGe9-4bWc-xxxx-3Y1m-ZPdN-aaaaaa", "q0q0q0-yGe9-4bWc-xxxx-3Y1m-ZPdN-bbbbbb"


def session(warnings: list[str] | None = None) -> Session:
    return Session(action="backup", out=print, warnings=[] if warnings is None else warnings)


def at(now: float, server: float | None = None) -> Clocks:
    """The clocks of a machine; without a server's time they agree."""
    return Clocks(now=now, server=server, built=0)


def make_set(share: Path, name: str, created: str, vg_uuid: str, written: float = NOON) -> Path:
    """Write what this is about of a manifest; written is the time of the server's clock."""
    folder = share / name
    folder.mkdir()
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"created": created, "plan": {"source": {"vgs": [{"uuid": vg_uuid}]}}}))
    os.utime(manifest, (written, written))
    return manifest


def test_a_set_of_this_machine_and_day_is_named(tmp_path: Path) -> None:
    make_set(tmp_path, "renamed", "2026-06-01T00:00:01Z", VG)
    with pytest.raises(Refused, match=r"'renamed'.*2026-06-01T00:00:01Z") as refused:
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session())
    assert "lvpack.name=NAME" in refused.value.hint
    sameday.refuse_second(folder_share(tmp_path), OTHER, at(NOON), session())
    sameday.refuse_second(folder_share(tmp_path), VG, at(NOON + DAY), session())


def test_the_stamp_in_a_name_counts_when_the_servers_clock_is_wrong(tmp_path: Path) -> None:
    make_set(tmp_path, "web-20260601T080000Z", "2026-06-01T08:09:10Z", VG, written=NOON - 9 * DAY)
    with pytest.raises(Refused, match="'web-20260601T080000Z'"):
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session())


def test_what_is_no_finished_set_of_today_is_passed_over(tmp_path: Path) -> None:
    make_set(tmp_path, "old-20260531T080000Z", "2026-05-31T08:09:10Z", VG, written=NOON - DAY)
    make_set(tmp_path, "copied-today", "2026-05-31T08:09:10Z", VG)
    make_set(tmp_path, "web-20260601T090000Z.partial", "2026-06-01T09:00:00Z", VG)
    make_set(tmp_path, "broken-20260601T080000Z", "2026-06-01T08:00:00Z", VG).write_text(f'{{"created": "{VG}')
    make_set(tmp_path, "foreign-20260601T080000Z", "2026-06-01T08:00:00Z", VG).write_text(f'["{VG}"]')
    (tmp_path / "empty-20260601T080000Z").mkdir()
    (tmp_path / "file").write_text("")
    sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session())


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("fifo", "it is a FIFO, not a file"),
        ("link", "it is a link, not a file"),
        ("deep", "it is nested too deep"),
        ("cut", "Unterminated string"),
        ("huge", "it has 6,442,450,944 bytes"),
        ("folder", "it is a folder, not a file"),
    ],
)
def test_a_bad_folder_is_named_and_keeps_nobody_from_a_backup(tmp_path: Path, kind: str, cause: str) -> None:
    manifest = make_set(tmp_path, "bad-20260601T080000Z", "2026-06-01T08:00:00Z", VG)
    spoil(manifest, kind, VG)
    warnings: list[str] = []
    sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session(warnings))
    assert len(warnings) == 1 and "'bad-20260601T080000Z'" in warnings[0] and cause in warnings[0], warnings
    make_set(tmp_path, "web-20260601T080000Z", "2026-06-01T08:00:00Z", VG)
    with pytest.raises(Refused, match="'web-2"):
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session())


def test_a_machine_that_boots_again_and_again_has_one_log_for_all_refusals(tmp_path: Path) -> None:
    make_set(tmp_path, "web-20260601T080000Z", "2026-06-01T08:00:00Z", VG)
    one = session()
    with pytest.raises(Refused):
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), one)
    assert one.called == "web-20260601T080000Z.again"


def test_a_manifest_is_not_read_if_name_and_time_are_of_another_day(tmp_path: Path) -> None:
    make_set(tmp_path, "old-20260531T080000Z", "2026-06-01T08:09:10Z", VG, written=NOON - DAY)
    sameday.refuse_second(folder_share(tmp_path), VG, at(NOON), session())


def test_a_clock_that_stands_at_one_date_refuses_no_later_backup(tmp_path: Path) -> None:
    """A machine whose battery is dead begins at the same date at each boot; the server's clock goes on."""
    dead = 946_684_800.0 + 60  # 2000-01-01
    make_set(tmp_path, "web-20000101T000040Z", "2000-01-01T00:04:00Z", VG, written=NOON - DAY)
    sameday.refuse_second(folder_share(tmp_path), VG, at(dead, server=NOON), session())
    make_set(tmp_path, "web-20000101T000041Z", "2000-01-01T00:04:01Z", VG, written=NOON - 3600)
    with pytest.raises(Refused, match="'web-20000101T000041Z'"):
        sameday.refuse_second(folder_share(tmp_path), VG, at(dead, server=NOON), session())


def test_a_servers_clock_that_stands_at_one_date_refuses_no_later_backup_either(tmp_path: Path) -> None:
    make_set(tmp_path, "web-20260531T080000Z", "2026-05-31T08:09:10Z", VG, written=1000)
    sameday.refuse_second(folder_share(tmp_path), VG, at(NOON, server=2000), session())
    make_set(tmp_path, "web-20260601T080000Z", "2026-06-01T08:09:10Z", VG, written=1000)
    with pytest.raises(Refused, match="'web-20260601T080000Z'"):
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON, server=2000), session())


def test_clocks_that_are_some_hours_apart_change_nothing(tmp_path: Path) -> None:
    make_set(tmp_path, "web-20260601T080000Z", "2026-06-01T08:09:10Z", VG, written=NOON - 4 * 3600 + 14 * 3600)
    with pytest.raises(Refused):
        sameday.refuse_second(folder_share(tmp_path), VG, at(NOON, server=NOON + 14 * 3600), session())


def test_a_set_of_this_machine_with_a_later_date_speaks_against_its_clock(tmp_path: Path) -> None:
    make_set(tmp_path, "web-20260603T080000Z", "2026-06-03T08:09:10Z", VG)
    (tmp_path / "web-20270603T080000Z").mkdir()
    assert (
        sameday.doubts(folder_share(tmp_path), OTHER, at(NOON))
        == sameday.doubts(folder_share(tmp_path), VG, at(NOON + 2 * DAY))
        == []
    )
    [doubt] = sameday.doubts(folder_share(tmp_path), VG, at(NOON))
    assert "'web-20260603T080000Z'" in doubt
    assert sameday.doubts(folder_share(tmp_path / "gone"), VG, at(NOON)) == []
