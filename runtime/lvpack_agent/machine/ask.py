"""A question on every console, whose answer is not shown.

Tested in guests: qemu-tests/tests/test_shares.py; without a machine: tests/agent/machine/test_ask.py.
"""

import os
import select
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lvpack_agent.undo import Undo

ASK_SECONDS = 600.0
LONGEST = 4096
_READ_SECONDS = 1.0
_ECHO, _LOCAL_FLAGS = termios.ECHO | termios.ECHONL, 3


def ask(what: str, devices: Sequence[Path], say: Callable[[str], object], seconds: float = ASK_SECONDS) -> bytes | None:
    """Ask for a line on all terminals; return the first that somebody ends with Enter, None after so many seconds.

    Nothing that is typed is shown. what is said to people. Terminals that are none are passed over.
    """
    with Undo() as undo:
        terminals = [fd for device in devices if (fd := _opened(device, undo)) is not None]
        if not terminals:
            return None
        say(f"type the secret {what}, then Enter; it is not shown. There are {seconds:.0f} s")
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and terminals:
            ready, _, _ = select.select(terminals, [], [], min(left, _READ_SECONDS))
            for fd in ready:
                # A terminal gives a line when it is ended (termios(3), canonical mode).
                with suppress(OSError):
                    if typed := os.read(fd, LONGEST).rstrip(b"\r\n"):
                        say("thank you")
                        return typed
                    continue
                terminals.remove(fd)
    return None


def _opened(device: Path, undo: Undo) -> int | None:
    """Open a terminal that shows nothing of what is typed, until undo."""
    try:
        fd = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    undo.push(lambda *_: _close(fd))
    try:
        before = termios.tcgetattr(fd)
        quiet = list(before)
        quiet[_LOCAL_FLAGS] = (quiet[_LOCAL_FLAGS] & ~_ECHO) | termios.ICANON
        termios.tcsetattr(fd, termios.TCSAFLUSH, quiet)
    except termios.error:
        return None
    undo.push(lambda *_: _restore(fd, before))
    return fd


def _close(fd: int) -> None:
    with suppress(OSError):
        os.close(fd)


def _restore(fd: int, before: list[Any]) -> None:
    with suppress(termios.error):  # its line was cut
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
