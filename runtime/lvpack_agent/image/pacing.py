"""Which zstd level keeps a dump as fast as the slowest of disk, processors and share: arithmetic alone."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

# The default of zstd(1), and what a machine with time to spare is raised to: beyond it seconds buy next to nothing.
FIRST, LOWEST, HIGHEST = 3, 1, 9
# If compressors work less than IDLE of the time, they could do more; if more than BUSY, all else waits for them.
IDLE, BUSY = 0.6, 0.9
INTERVAL_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Pace:
    """The level for each piece: fixed, unless that is 0, else moved by a step after an interval. Times in seconds.

    bottlenecks counts for how many intervals the disk, the processors, the share or lvpack.rate were what all else
    waited for. held returns how much of the writer's time, so far, was waited for lvpack.rate.
    """

    workers: int
    fixed: int = 0
    held: Callable[[], float] = lambda: 0.0
    levels: Counter[int] = field(default_factory=Counter)
    bottlenecks: Counter[str] = field(default_factory=Counter)
    _level: int = FIRST
    _since: float = 0
    _reading: float = 0
    _compressing: float = 0
    _writing: float = 0
    _held: float = 0

    def level(self) -> int:
        """Return the level for the next piece."""
        level = self.fixed or self._level
        self.levels[level] += 1
        return level

    def read(self, seconds: float) -> None:
        """Count time that the reader took."""
        self._reading += seconds

    def compressed(self, seconds: float) -> None:
        """Count time that one of the workers took."""
        self._compressing += seconds

    def wrote(self, seconds: float) -> None:
        """Count time that the writer took."""
        self._writing += seconds

    def look(self, now: float) -> None:
        """Choose anew if an interval is over at the time now."""
        if not self._since:
            self._since, self._held = now, self.held()
        elapsed = now - self._since
        if elapsed < INTERVAL_SECONDS:
            return
        held_before, self._held = self._held, self.held()
        held = self._held - held_before
        busy = {
            "the processors": self._compressing / self.workers / elapsed,
            "the disk": self._reading / elapsed,
            "the share": (self._writing - held) / elapsed,
            "lvpack.rate": held / elapsed,
        }
        self.bottlenecks[max(busy, key=lambda name: busy[name])] += 1
        if busy["the processors"] > BUSY:
            self._level = max(LOWEST, self._level - 1)
        elif busy["the processors"] < IDLE:
            self._level = min(HIGHEST, self._level + 1)
        self._since, self._reading, self._compressing, self._writing = now, 0, 0, 0

    def summary(self) -> str:
        """Return for people which levels were used, by how many workers, and what was slowest."""
        low, high = min(self.levels, default=self._level), max(self.levels, default=self._level)
        text = f"zstd level {low}" if low == high else f"zstd levels {low} to {high}"
        if low != high:
            text += f", mostly {self.levels.most_common(1)[0][0]}"
        text += f", {self.workers} at a time"
        if self.bottlenecks:
            name = self.bottlenecks.most_common(1)[0][0]
            text += f"; {name} {'were' if name.endswith('s') else 'was'} slowest"
        return text
