"""A run that is told to end: by SIGTERM, as `kill` and `busybox poweroff` send it, or by the power button."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lvpack_agent.errors import Failed


class Ending:
    """Turns SIGTERM into an error, once; the run ends by it as by any other, with all that it has set up taken down."""

    def __init__(self) -> None:
        # The interpreter calls a handler only between two instructions of the main thread, which may wait for a share.
        # This pipe tells other threads at once (signal.set_wakeup_fd()).
        self._told, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
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
        waking = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            signal.set_wakeup_fd(waking)
            signal.signal(signal.SIGTERM, before)

    def is_asked_for(self) -> bool:
        """Return whether a signal has come; any thread may ask."""
        return bool(select.select([self._told], [], [], 0)[0])

    def ask(self) -> None:
        """Tell the run of this process to end."""
        os.kill(os.getpid(), signal.SIGTERM)
