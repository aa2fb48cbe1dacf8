"""Progress lines: bytes, rate and time left, at least each five seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from lvpack_agent.sizes import human

INTERVAL_SECONDS = 3.0
TICK_SECONDS = 0.5


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call tick each half second, from a thread of its own."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(TICK_SECONDS):
            tick()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def clock(seconds: float) -> str:
    """Return a time as people read it, e.g. 1:05 or 2:00:07."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Counts bytes towards a total (0 if it is not known) and says so through a callback."""

    def __init__(
        self, what: str, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._total, self._say, self._clock = what, total, say, clock
        self._begun = self._said = clock()
        self.done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes as done and print a line if one is due; several threads may do so."""
        with self._lock:
            self.done += count
        self._speak()

    def at(self, done: int) -> None:
        """Set the bytes done so far and print a line if one is due."""
        self.done = done
        self._speak()

    def ticking(self) -> AbstractContextManager[None]:
        """Print lines also while no byte moves, as when a share does not answer."""
        return ticking(self._speak)

    def _speak(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._said >= INTERVAL_SECONDS:
                self._said = now
                self._say(self.line())

    def line(self) -> str:
        """Return the present state as a line."""
        elapsed = self._clock() - self._begun
        rate = self.done / elapsed if elapsed > 0 else 0
        text = f"{self._what}: {human(self.done)}"
        if self._total:
            text += f" of {human(self._total)} ({min(100, 100 * self.done // self._total)} %)"
        text += f", {human(rate)}/s, {clock(elapsed)} so far"
        if self._total and rate:
            text += f", {clock(max(0, self._total - self.done) / rate)} left"
        return text
