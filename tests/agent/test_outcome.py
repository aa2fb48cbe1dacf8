"""What ended a run, said once."""

import errno
import os
from pathlib import Path

import pytest

from lvpack_agent import outcome, places
from lvpack_agent.devices.ioerrors import DiskError
from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.outcome import say_notes
from lvpack_agent.session import Session
from lvpack_agent.settings.read import parse


def test_what_failed_while_cleaning_up_is_said_of_an_error_that_was_raised_anew() -> None:
    said: list[str] = []
    first = Failed("cannot merge")
    first.add_note("cannot unmount")
    try:
        raise Failed("cannot merge", hint="the next boot goes on") from first
    except Failed as error:
        for _ in range(2):
            say_notes(error, Session(action="backup", out=said.append))
    assert said == ["while cleaning up: cannot unmount"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ENXIO])
def test_a_disk_that_fails_is_no_defect_of_lvpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(places, "LOG", tmp_path / "log")
    try:
        raise OSError(number, os.strerror(number), "/dev/vda")
    except OSError as error:
        ours = outcome.as_ours(error, "finish restore")
    assert ours.message == f"cannot finish restore: {os.strerror(number)} '/dev/vda'"
    assert "defect" not in ours.hint and "dmesg" in ours.hint


def test_what_the_kernel_says_of_disks_stands_beside_what_a_tool_said() -> None:
    bad = DiskError(kind="I/O error", name="vda", sector=77, operation="READ")
    other = DiskError(kind="I/O error", name="vda", sector=78, operation="READ")
    tool = Failed("cannot run 'e2fsck': exit status 8")
    settings = parse(["lvpack.action=backup", "lvpack.target=nfs://h/x"])
    assert settings
    told = outcome.with_disk_errors(tool, (bad, other), settings, ["/dev/vda"])
    assert "lvpack.errors=skip" in told.hint
    assert "lvpack.errors" not in outcome.with_disk_errors(tool, (bad, other), settings, ["/dev/vdb"]).hint
    assert told.message == (
        "cannot run 'e2fsck': exit status 8; the kernel says: disk '/dev/vda' could not be read from sector 77 "
        "on (I/O error) (and 1 more such errors in dmesg)"
    )
    assert outcome.with_disk_errors(tool, (), settings) is tool
    known = Failed("cannot read disk '/dev/vda' at sector 77")
    assert outcome.with_disk_errors(known, (bad, other), settings) is known
    refused = Refused("cannot find VG")
    assert outcome.with_disk_errors(refused, (bad,), settings) is refused


def test_what_is_known_of_an_error_stays_beside_the_kernel_s_words() -> None:
    bad = DiskError(kind="I/O error", name="vda", sector=77, operation="READ")
    settings = parse(["lvpack.action=backup", "lvpack.target=nfs://h/x"])
    assert settings
    told = outcome.with_disk_errors(Disagreement("cannot merge", remains="it is half merged"), (bad,), settings)
    assert isinstance(told, Disagreement) and told.remains == "it is half merged"
    skips = Failed("cannot read", hint="lvpack.errors=skip packs the rest")
    assert outcome.with_disk_errors(skips, (bad,), settings, ["/dev/vda"]).hint == skips.hint


@pytest.mark.parametrize("name", ["loop0", "dm-3", "ram1", "zram0"])
def test_a_store_is_no_disk(name: str) -> None:
    bad = DiskError(kind="I/O error", name=name, sector=77, operation="READ")
    settings = parse(["lvpack.action=backup", "lvpack.target=nfs://h/x"])
    tool = Failed("cannot run 'e2fsck': exit status 8")
    assert settings and outcome.with_disk_errors(tool, (bad,), settings) is tool
