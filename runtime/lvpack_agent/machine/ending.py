"""A run that is told to end: by SIGTERM, as `kill` and `busybox poweroff` send it, or by the power button."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lvpack_agent.errors import Failed

STATUS = Path("/proc/self/status")


class Ending:
    """Turns SIGTERM into an error, once; the run ends by it as by any other, with all that it has set up taken down."""

    def __init__(self) -> None:
        self.is_running = False

    @contextmanager
    def heeded(self, action: str) -> Iterator[None]:
        """Let SIGTERM end what is inside with a Failed that names the action. Only in the main thread."""

        def end(_: int, __: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is heard; cleaning up is not to be disturbed
            raise Failed(
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
        """Return whether a signal has come that the main thread does not see, as it waits for a share in the kernel.

        Any thread may ask. The kernel gives a signal to the main thread if it can, and keeps it until that is back
        (proc_pid_status(5): ShdPnd, a mask in hex digits whose lowest bit is signal 1).
        """
        for line in STATUS.read_text().splitlines():
            name, _, mask = line.partition(":")
            if name == "ShdPnd":
                return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
        return False

    def ask(self) -> None:
        """Tell the run of this process to end."""
        os.kill(os.getpid(), signal.SIGTERM)
