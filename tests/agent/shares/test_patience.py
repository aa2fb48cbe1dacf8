"""A share that does not answer: what people hear, when it is given up, and what counts as an answer."""

import time
from pathlib import Path

import pytest

from lvpack_agent import places
from lvpack_agent.session import Session
from lvpack_agent.shares.patience import NOTICE_SECONDS, SAY_SECONDS, Silence, Watch, completed

# /proc/self/mountstats of kernel 6.12 with an NFS 4.1 share at /s, shortened.
MOUNTSTATS = """\
device tmpfs mounted on /run with fstype tmpfs
device 10.0.2.2:/export mounted on /s with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.1,rsize=1048576,wsize=1048576
\tage:\t1
\txprt:\ttcp 0 0 2 0 0 40 40 0 40 0 8 28 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 2 0 2 0
\t        READ: 0 0 0 0 0 0 0 0 0
\t       WRITE: 8 8 0 8390240 1792 1512 177 1693 0
\t      STATFS: 2 2 0 168 160 0 2 3 0

device 10.0.2.2:/other mounted on /s2 with fstype nfs4 statvers=1.1
\tper-op statistics
\t        NULL: 100 1 0 44 24 2 0 2 0
"""


def silence(patience: float = 600) -> Silence:
    return Silence("nfs://h/e", patience, now=0)


def test_a_short_silence_is_nobodys_concern() -> None:
    share = silence()
    assert share.look(NOTICE_SECONDS - 1) == "" and not share.is_out
    assert share.answered(NOTICE_SECONDS - 0.5) == ""


def test_a_silence_is_said_at_once_then_seldom_and_so_is_its_end() -> None:
    share = silence()
    said = [(now, share.look(now)) for now in range(100)]
    lines = [(now, text) for now, text in said if text]
    assert [now for now, _ in lines] == [NOTICE_SECONDS, NOTICE_SECONDS + SAY_SECONDS, NOTICE_SECONDS + 2 * SAY_SECONDS]
    assert "nfs://h/e does not answer" in lines[0][1] and "9:50 left" in lines[0][1] and "9:20 left" in lines[1][1]
    assert share.is_out
    assert "answers again after 1:40; the run goes on" in share.answered(100)
    assert not share.is_out and share.answered(101) == "" and share.look(102) == ""


def test_a_silence_that_lasts_longer_than_the_patience_is_the_end() -> None:
    share = silence(90)
    assert not any(share.look(now) and share.is_given_up for now in range(90))
    assert "did not answer for 1 min 30 s; it is given up" in share.look(90)
    assert share.is_given_up and share.look(91) == "" and share.answered(92) == "" and share.is_given_up


def test_without_patience_the_first_notice_is_the_end() -> None:
    share = silence(0)
    assert share.look(NOTICE_SECONDS - 1) == "" and not share.is_given_up
    assert "given up" in share.look(NOTICE_SECONDS) and share.is_given_up


def test_requests_that_were_answered_are_those_of_this_share() -> None:
    assert completed(MOUNTSTATS, Path("/s")) == 1 + 8 + 2
    assert completed(MOUNTSTATS, Path("/s2")) == 100
    assert completed(MOUNTSTATS, Path("/run")) == completed("", Path("/s")) == 0


@pytest.mark.parametrize(("has_store", "warnings"), [(False, 0), (True, 1)])
def test_a_short_pause_is_a_warning_while_a_store_is_on_the_share(
    has_store: bool, warnings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was restarted meanwhile may have lost some of it."""
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    session = Session(action="backup", out=print, has_store=has_store)
    watch = Watch("nfs://h/e", tmp_path, lambda: None, 600, session)
    now[0] = 15.0
    watch._say(watch._silence.look)
    assert session.outages == 1 and places.AWAY.exists()
    now[0] = 20.0
    watch._say(watch._silence.answered)
    assert len(session.warnings) == warnings and not places.AWAY.exists()
