"""What a run tells about itself: phases with their times, warnings, and the one result line at the end."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from lvpack_agent.errors import LvpackError
from lvpack_agent.jsonform import to_json
from lvpack_agent.progress import clock, ticking

RESULT_MARK = "LVPACK-RESULT: "
# One line in five seconds at least is promised, on busy machines too.
SILENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a run. sizes in bytes, timings in seconds by phase; compression says which levels a dump used."""

    status: str
    action: str
    message: str
    hint: str = ""
    name: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    compression: str = ""

    def line(self) -> str:
        """Return the line that programs read: the mark and JSON without line breaks."""
        return RESULT_MARK + json.dumps(to_json(self))


def parse_result(line: str) -> Report:
    """Read a result line, also with other text before its mark. Raises ValueError."""
    from lvpack_agent.jsonform import from_json

    _, mark, text = line.partition(RESULT_MARK)
    if not mark:
        raise ValueError("no result line")
    return from_json(Report, json.loads(text))


@dataclass(slots=True, kw_only=True)
class Run:
    """What gathers while an action runs; out prints a line to every console, disk is the one packed or restored."""

    action: str
    out: Callable[[str], None]
    name: str = ""
    disk: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    compression: str = ""
    _said: float = 0
    _doing: str = "begin"
    _since: float = 0

    def say(self, text: str) -> None:
        """Print a line to every console."""
        self._said = time.monotonic()
        self.out(text)

    def speaking(self) -> AbstractContextManager[None]:
        """While nothing else is said, say what goes on."""

        def tick() -> None:
            now = time.monotonic()
            if now - self._said >= SILENCE_SECONDS:
                self.say(f"{self._doing}: {clock(now - self._since)} so far")

        self._said = self._since = time.monotonic()
        return ticking(tick)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase and time it, also when it fails."""
        self.say(f"== {name}")
        self._doing, self._since = name, time.monotonic()
        begun = self._since
        try:
            yield
        finally:
            self.timings[name] = round(self.timings.get(name, 0) + time.monotonic() - begun, 2)

    def warn(self, text: str) -> None:
        """Print a warning and keep it for the result."""
        self.warnings.append(text)
        self.say(f"warning: {text}")

    def ended(self, message: str) -> Report:
        """Return the report of a run that ended well."""
        return self._report("ok", message, "")

    def stopped(self, error: LvpackError) -> Report:
        """Return the report of a refused or failed run."""
        return self._report(error.status, error.message, error.hint)

    def _report(self, status: str, message: str, hint: str) -> Report:
        return Report(
            status=status,
            action=self.action,
            message=message,
            hint=hint,
            name=self.name,
            sizes=self.sizes,
            timings=self.timings,
            warnings=tuple(self.warnings),
            compression=self.compression,
        )
