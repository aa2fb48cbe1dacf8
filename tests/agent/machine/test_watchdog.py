"""What starts a machine again is armed and taken back; what cannot be taken back is not armed, or ends the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.machine import watchdog
from lvpack_agent.machine.watchdog import Guards


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with a watchdog: its device is a file here."""
    about = tmp_path / "about"
    about.mkdir()
    for name, text in {"identity": "Toy Timer", "nowayout": "0", "state": "inactive"}.items():
        (about / name).write_text(f"{text}\n")
    (tmp_path / "device").touch()
    (tmp_path / "panic").write_text("0\n")
    monkeypatch.setattr(watchdog, "ABOUT", about)
    monkeypatch.setattr(watchdog, "DEVICE", tmp_path / "device")
    monkeypatch.setattr(watchdog, "PANIC", tmp_path / "panic")
    monkeypatch.setattr(watchdog, "FEED_SECONDS", 0.01)
    yield tmp_path


def test_it_is_fed_until_it_is_stopped(machine: Path) -> None:
    said: list[str] = []
    guards = Guards(said.append)
    guards.arm()
    assert said == ["watchdog: Toy Timer starts this machine again if it hangs"]
    assert (machine / "panic").read_text() == "60\n"
    guards.disarm()
    written = (machine / "device").read_bytes()
    assert written.startswith(b"\0") and written.endswith(b"\0V")
    assert (machine / "panic").read_text() == "0\n"
    guards.disarm()
    assert (machine / "device").read_bytes() == written


def test_one_that_cannot_be_stopped_again_is_not_begun(machine: Path) -> None:
    (machine / "about/nowayout").write_text("1\n")
    said: list[str] = []
    guards = Guards(said.append)
    guards.arm()
    guards.disarm()
    assert (machine / "device").read_bytes() == b"" and "not used" in said[0]


def test_one_that_does_not_stop_all_the_same_ends_the_run(machine: Path) -> None:
    guards = Guards(print)
    guards.arm()
    (machine / "about/state").write_text("active\n")
    with pytest.raises(Failed, match="watchdog does not stop") as failed:
        guards.disarm()
    assert failed.value.hint


def test_what_a_boot_menu_asked_for_is_taken_back_without_a_watchdog(machine: Path) -> None:
    (machine / "about/identity").unlink()
    (machine / "panic").write_text("60\n")
    Guards(print).disarm()
    assert (machine / "panic").read_text() == "0\n"
    (machine / "panic").unlink()
    with pytest.raises(Failed, match="panic"):
        Guards(print).disarm()


def test_a_machine_without_a_watchdog_is_as_good(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ABOUT", machine / "none")
    said: list[str] = []
    guards = Guards(said.append)
    guards.arm()
    guards.disarm()
    assert said == []


def test_one_that_a_killed_agent_has_left_running_is_stopped(machine: Path) -> None:
    (machine / "about/state").write_text("active\n")
    with pytest.raises(Failed, match="watchdog does not stop"):  # as the state is a file here
        Guards(print).disarm()
    assert (machine / "device").read_bytes() == b"V"


@pytest.mark.parametrize("nowayout", [True, False])
def test_one_that_runs_and_cannot_be_stopped_ends_the_run(machine: Path, nowayout: bool) -> None:
    (machine / "about/state").write_text("active\n")
    (machine / "about/nowayout").write_text(f"{nowayout:d}\n")
    (machine / "device").unlink()
    with pytest.raises(Failed, match="nowayout" if nowayout else "cannot be opened") as failed:
        Guards(print).disarm()
    assert failed.value.hint
