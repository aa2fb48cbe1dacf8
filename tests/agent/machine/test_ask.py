"""A question on a terminal: what is typed is not shown, and the terminal is as it was afterwards."""

import os
import pty
import termios
import threading
import time
from pathlib import Path

from lvpack_agent.machine.ask import ask


def test_what_is_typed_is_returned_and_not_shown(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    name = Path(os.ttyname(theirs))
    before = termios.tcgetattr(theirs)
    said: list[str] = []

    def type_it() -> None:
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        os.write(ours, b"\nopen, Ses\x7f\x7f\x7fSesame\n")

    thread = threading.Thread(target=type_it)
    thread.start()
    assert ask("smb, the password", (tmp_path / "none", name), said.append, seconds=10) == b"open, Sesame"
    thread.join()
    assert "smb, the password" in said[0] and "Sesame" not in "".join(said)
    assert termios.tcgetattr(theirs) == before
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 1000)
    except BlockingIOError:
        shown = b""
    assert shown.strip() == b""
    os.close(ours)
    os.close(theirs)


def test_nobody_answers(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        begun = time.monotonic()
        assert ask("smb", (Path(os.ttyname(theirs)),), print, seconds=0.2) is None
        assert time.monotonic() - begun < 5
        assert ask("smb", (tmp_path / "none",), print, seconds=60) is None, "no terminal: nobody is waited for"
    finally:
        os.close(ours)
        os.close(theirs)
