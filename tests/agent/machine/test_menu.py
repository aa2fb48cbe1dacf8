"""What the menu's choices run; the programs are ones that only note how they were called."""

from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.machine import menu

NOTE = """#!/bin/sh
echo "${0##*/} $*" >> "$NOTES"
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of notes; no other programs are found."""
    for name in ("busybox", "python3"):
        (tmp_path / name).write_text(NOTE)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").touch()
    return tmp_path / "notes"


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("answer", "called"),
    [
        ("1", "python3 -m lvpack_agent --cmdline lvpack.action=plan\n"),
        ("3", "busybox reboot -f\n"),
        ("4", "busybox poweroff -f\n"),
        ("", ""),
        ("34", ""),
        ("yes", ""),
    ],
)
def test_a_choice_does_what_the_menu_says_and_all_else_nothing(notes: Path, answer: str, called: str) -> None:
    menu.choose(answer, Path("/dev/null"))
    assert notes.read_text() == called


@pytest.mark.starts_processes
def test_a_plan_that_is_refused_does_not_end_the_menu(notes: Path) -> None:
    """The agent says it on every console; its exit status is 1 then."""
    program = notes.parent / "python3"
    program.write_text(NOTE + "exit 1\n")
    menu.choose("1", Path("/dev/null"))
    program.write_text(NOTE + "exit 2\n")
    with pytest.raises(Failed, match="exit status 2"):
        menu.choose("1", Path("/dev/null"))
