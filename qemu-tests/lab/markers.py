"""The lines by which the agent says where it is, as they come over the serial console."""

import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from lvpack_agent.errors import Failed
from lvpack_agent.report import RESULT_MARK, Report
from lvpack_builder.lab.console import Console, read_result

LINE = r"([^\r\n]*)\r*\n"
RESULT = "result"
# How long the last lines of a machine that was killed may take from the pseudo terminal to us.
REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """`== PHASE`, `-- VERB OBJECT…` or the result line; at: when it was read, in seconds of the monotonic clock.

    kind: the phase's name, "PHASE: VERB", or RESULT.
    """

    kind: str
    line: str
    at: float


class Reader:
    """Reads the markers of one boot; report is there when the result line was read."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self.seen: list[Marker] = []
        self.report: Report | None = None
        self.resume = ""

    def next(self, seconds: float) -> Marker | None:
        """Wait for a marker: None if none comes in time. Raises Failed if the machine ends."""
        deadline = time.monotonic() + seconds
        while match := self._console.watch(LINE, max(0.0, deadline - time.monotonic())):
            if marker := self._read(match[1].decode(errors="replace").rstrip()):
                self.seen.append(marker)
                return marker
        return None

    def pause(self, seconds: float) -> None:
        """Read on for so long, or to the result."""
        deadline = time.monotonic() + seconds
        while self.report is None and self.next(max(0.0, deadline - time.monotonic())):
            pass

    def rest(self) -> None:
        """Read what a machine that was killed had still said."""
        with suppress(Failed):
            while self.next(REST_SECONDS):
                pass

    def _read(self, line: str) -> Marker | None:
        if line.startswith(RESULT_MARK):
            self.report = read_result(line.partition(RESULT_MARK)[2])
            return Marker(kind=RESULT, line=RESULT_MARK.strip(": "), at=time.monotonic())
        mark, _, text = line.partition(" ")
        if mark == "==" and text:
            self._phase = text
            return Marker(kind=text, line=line, at=time.monotonic())
        if mark == "--" and text:
            return Marker(kind=f"{self._phase}: {text.split()[0]}", line=line, at=time.monotonic())
        if line.startswith("resume") and not self.resume:
            self.resume = line
        return None


def durations(markers: list[Marker]) -> dict[str, list[float]]:
    """Return for each kind, in the order in which they first came, the seconds from each of its markers to the next.

    The last marker has no next one, and 0 seconds.
    """
    found: dict[str, list[float]] = {}
    for marker, following in pairwise([*markers, *markers[-1:]]):
        found.setdefault(marker.kind, []).append(following.at - marker.at)
    return found
