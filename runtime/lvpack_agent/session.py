"""A run from its begin to its result: it speaks to people, times the phases, and gathers what the result says."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from lvpack_agent.errors import LvpackError
from lvpack_agent.printable import printable
from lvpack_agent.progress import clock, ticking
from lvpack_agent.report import Report, Sizes, Timings

# What to do about an error that has no hint of its own, as most of tools have none.
LOOK = "the lines before it say what was being done; with lvpack.action=shell you can try it by hand"

# A line at least each five seconds is promised, on busy machines, too.
SILENCE_SECONDS = 3.0


@dataclass(slots=True, kw_only=True)
class Session:
    """What is gathered while an action runs; out prints a line to every console, logged returns all lines so far.

    name is the name of the image set. called is what a run that fails is called by: the name that the set has or would
    have, also if none is written. disk is the path of the disk that is packed or restored: a reboot starts it. sources
    are the paths of all disks that are packed.
    outages counts how often the share did not answer for a while; has_store says that a copy-on-write store is on it.
    is_ending tells whether the run was told to end, also if the main thread waits, for the share or a thread of its
    own. explain returns an error with what else is known of its cause.
    """

    action: str
    out: Callable[[str], None]
    logged: Callable[[], str] = str
    name: str = ""
    called: str = ""
    disk: str = ""
    sources: tuple[str, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)
    timings: Timings = field(default_factory=Timings)
    warnings: list[str] = field(default_factory=list)
    compression: str = ""
    outages: int = 0
    has_store: bool = False
    is_ending: Callable[[], bool] = lambda: False
    explain: Callable[[LvpackError], LvpackError] = lambda error: error
    _said: float = 0
    _doing: str = "begin"
    _since: float = 0
    _is_ending: bool = False

    def say(self, text: str) -> None:
        """Print a line to every console; what does not print in it is escaped there (Console.say)."""
        self._said = time.monotonic()
        self.out(text)

    def show(self, table: str) -> None:
        """Print a text of several lines of lvpack's own."""
        for line in table.split("\n"):
            self.say(line)

    def speaking(self) -> AbstractContextManager[None]:
        """Print the phase and its time whenever nothing else was printed for SILENCE_SECONDS."""

        def tick() -> None:
            now = time.monotonic()
            if not self._is_ending and self.is_ending():
                self._is_ending = True
                self.say("this machine was told to end the run (SIGTERM, or the power button): it is taken down")
            if now - self._said >= SILENCE_SECONDS:
                self.say(f"{self._doing}: {clock(now - self._since)} so far")

        self._said = self._since = time.monotonic()
        return ticking(tick)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase, a field of Timings, and time it, also when it fails."""
        shown = name.replace("_", " ")
        self.say(f"== {shown}")
        self._doing, self._since = shown, time.monotonic()
        begun = self._since
        try:
            yield
        finally:
            before = max(0, getattr(self.timings, name))
            self.timings = replace(self.timings, **{name: round(before + time.monotonic() - begun, 2)})

    def measured(self, **sizes: int) -> None:
        """Keep sizes in bytes, fields of Sizes, for the result."""
        self.sizes = replace(self.sizes, **sizes)

    def warn(self, text: str) -> None:
        """Print a warning and keep it for the result."""
        self.warnings.append(printable(text))
        self.say(f"warning: {text}")

    def ended(self, message: str) -> Report:
        """Return the report of a run that ended well."""
        return self._report("ok", message, "")

    def stopped(self, error: LvpackError) -> Report:
        """Return the report of a refused or failed run; it always says what to do."""
        return self._report(error.status, error.message, error.hint or LOOK)

    def _report(self, status: str, message: str, hint: str) -> Report:
        return Report(
            status=status,
            action=self.action,
            message=printable(message),
            hint=hint,
            name=self.name,
            sizes=self.sizes,
            timings=self.timings,
            warnings=tuple(self.warnings),
            compression=self.compression,
        )
