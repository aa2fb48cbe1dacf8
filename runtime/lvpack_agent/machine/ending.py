"""A run that is told to end: by SIGTERM, as `kill` and `busybox poweroff` send it, or by the power button."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lvpack_agent.errors import Ended

STATUS = Path("/proc/self/status")


class Ending:
    """Turns SIGTERM into an error, once; the run ends by it as by any other, with all that it has set up taken down."""

    def __init__(self) -> None:
        self.is_running = self._is_heard = False

    @contextmanager
    def heeded(self, action: str) -> Iterator[None]:
        """Let SIGTERM end what is inside with an Ended that names the action. Only in the main thread."""

        def end(_: int, __: FrameType | None) -> None:
            self._is_heard = True
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is heard; cleaning up is not to be disturbed
            raise Ended(
                f"cannot finish {action}: this machine was told to end it (SIGTERM, or the power button)",
                hint="boot it again with the same options to begin anew, or, in place, to go on",
            )

        before = signal.signal(signal.SIGTERM, end)
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            signal.signal(signal.SIGTERM, before)

    def is_waiting(self) -> bool:
        """Return whether the run was told to end: nothing is to be waited for any more, also not by another thread.

        Any thread may ask. The main thread may not have seen the signal, as it waits for a share in the kernel, which
        keeps a signal until that thread is back (proc_pid_status(5): ShdPnd, a mask in hex digits whose lowest bit is
        signal 1).
        """
        if self._is_heard:
            return True
        for line in STATUS.read_text().splitlines():
            name, _, mask = line.partition(":")
            if name == "ShdPnd":
                return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
        return False

    def ask(self) -> None:
        """Tell the run of this process to end."""
        os.kill(os.getpid(), signal.SIGTERM)
