"""A certificate that is out of date, with a real server: what is said, and when this machine's clock is set."""

import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.tinyproxy import tinyproxy
from lab.web import Web, certify, web
from lvpack_agent import places
from lvpack_agent.errors import Refused
from lvpack_agent.session import Session
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import http, server_clock
from lvpack_agent.shares.server_clock import DAY, MachineClock, dated, is_of_dates, shown
from lvpack_agent.shares.url import parse_url
from tests.agent.builders.shares import access

NOW = 1780315200.0  # 2026-06-01T12:00:00Z
real = time.time


class Expired(ssl.SSLCertVerificationError):
    verify_code, verify_message = 10, "certificate has expired"


def judged(
    monkeypatch: pytest.MonkeyPatch, now: float, image: float, theirs: float | None, may_set: bool = True
) -> tuple[list[float], list[str]]:
    """Return how the clock was set, and the warnings. Raises Refused."""
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(server_clock, "built", lambda: image)
    was_set, warnings = list[float](), list[str]()
    MachineClock(was_set.append if may_set else None, warnings.append).judge(Expired(), "h", theirs)
    return was_set, warnings


def test_a_clock_that_cannot_be_right_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    was_set, [warning] = judged(monkeypatch, now=0, image=NOW - 90 * DAY, theirs=NOW)
    assert was_set == [NOW]
    assert all(time in warning for time in ("1970-01-01 00:00", shown(NOW - 90 * DAY), shown(NOW)))


@pytest.mark.parametrize(
    ("now", "theirs", "may_set", "hint"),
    [
        (NOW - 30 * DAY, NOW, True, "for which nobody vouches: set this machine's clock if"),  # behind, but possible
        (NOW + 400 * DAY, NOW, True, "for which nobody vouches"),
        (NOW, NOW - 400 * DAY, True, "for which nobody vouches"),
        (NOW + 30, NOW, True, "the server's the same: it needs a new certificate"),
        (NOW, None, True, "set it if that is wrong"),
        (0.0, None, True, "and this live image is of"),
        (0.0, NOW - 91 * DAY, True, "and this live image is of"),  # a time that cannot be right, either
        (0.0, NOW, False, "for which nobody vouches"),
        (NOW - 90 * DAY - DAY / 2, NOW, True, "for which nobody vouches"),  # zones
    ],
)
def test_else_it_is_refused_with_what_is_known(
    now: float, theirs: float | None, may_set: bool, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="cannot trust server h: its certificate: certificate has expired") as refused:
        judged(monkeypatch, now, NOW - 90 * DAY, theirs, may_set)
    assert hint in refused.value.hint and f"this machine's clock says {shown(now)} UTC" in refused.value.hint
    if theirs is not None and abs(now - theirs) > 60:
        assert f"the server's {shown(theirs)}" in refused.value.hint


def test_it_is_set_once_and_by_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(server_clock, "built", lambda: NOW - DAY)
    was_set = list[float]()
    clock = MachineClock(was_set.append, lambda _: None)
    clock.judge(Expired(), "h", NOW)
    with pytest.raises(Refused):
        clock.judge(Expired(), "h", NOW)
    assert was_set == [NOW]

    def forbidden(_: float) -> None:
        raise PermissionError

    with pytest.raises(Refused):
        MachineClock(forbidden, lambda _: None).judge(Expired(), "h", NOW)


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Mon, 01 Jun 2026 12:00:00 GMT", 1780315200.0),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Mon, 99 Jun 2026 12:00:00 GMT", None),
    ],
)
def test_dates_of_headers(date: str | None, seconds: float | None) -> None:
    assert dated(date) == seconds


def test_other_faults_of_a_certificate_are_no_matter_of_time() -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code, error.verify_message = 20, "unable to get local issuer certificate"
    assert not is_of_dates(error) and not is_of_dates(OSError()) and is_of_dates(Expired())


@pytest.mark.starts_processes
@pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own is root's")
class TestWithAServer:
    @pytest.fixture
    def expired(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
        monkeypatch.setattr(places, "AWAY", tmp_path / "away")
        with web("nginx", password=False) as server:
            server.kill()
            certify(server.state, "server", days=-1)
            server.start()
            yield server

    @pytest.mark.parametrize("by_proxy", [False, True])
    def test_both_times_are_named(self, by_proxy: bool, expired: Web, tmp_path: Path) -> None:
        was_set = list[float]()
        with tinyproxy() as proxy:
            options = ShareOptions(proxy=proxy.url if by_proxy else "")
            how = access(options=options, secrets={"ca": expired.ca}, set_time=was_set.append)
            url = parse_url(f"https://127.0.0.1:{expired.port}/sets")
            session = Session(action="backup", out=print)
            with pytest.raises(Refused, match="has expired") as refused, http.opened(url, tmp_path / "n", how, session):
                pass
        assert "the server's the same" in refused.value.hint and not was_set

    def test_a_clock_that_is_set_makes_it_valid(
        self, expired: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """OpenSSL's clock is the system's, which no test sets: a certificate that is valid stands for that."""
        monkeypatch.setattr(server_clock, "built", lambda: real() - 30 * DAY)
        monkeypatch.setattr(time, "time", lambda: 1e9)
        was_set = list[float]()

        def set_time(seconds: float) -> None:
            was_set.append(seconds)
            monkeypatch.setattr(time, "time", real)
            expired.kill()
            certify(expired.state, "server")
            expired.start()

        session = Session(action="backup", out=print)
        how = access(secrets={"ca": expired.ca}, set_time=set_time)
        url = parse_url(f"https://127.0.0.1:{expired.port}/sets")
        with http.opened(url, tmp_path / "new", how, session) as share:
            assert share.names() == []
        assert was_set == [pytest.approx(real(), abs=60)]
        [warning] = session.warnings
        assert "2001-09-09 01:46" in warning and not session.outages
