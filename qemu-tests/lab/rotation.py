"""Where the next power cut falls: the kinds of markers in turn, an occurrence and a delay by dice."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from threading import Lock

from lab.markers import RESULT, Marker, durations

FIRST_WRITE = "shrink"
# A little more than the time to the next marker, so that the moment before that one has its cuts too.
REACH = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A cut to make: so many seconds after a marker of this kind, when skip others of it have come in this boot."""

    kind: str
    skip: int
    delay: float


class Rotation:
    """Hands out each kind of marker in turn until all cuts are made; several threads may ask."""

    def __init__(self, reference: list[Marker], cuts: int, dice: Random, first_write: str = FIRST_WRITE) -> None:
        """reference: the markers of a run without a cut; they say what comes when, and how long it takes.

        first_write: the kind that the first of those has which do not come again in a boot after a cut; "" if all do.
        """
        self._seconds = durations(reference)
        kinds = [marker.kind for marker in reference]
        self._first = {kind: kinds.index(kind) for kind in kinds}
        self._last = {kind: position for position, kind in enumerate(kinds)}
        self._writes_from = self._first.get(first_write, len(reference))
        self._queue = list(self._seconds)
        dice.shuffle(self._queue)
        self._left = cuts
        self._lock = Lock()

    def take(self, counts: Counter[str], dice: Random) -> Aim | None:
        """Return the next cut for a disk whose earlier boots had so many markers of each kind; None: no more cuts."""
        with self._lock:
            kind = next((k for k in self._queue if self._comes(k, counts)), None)
            if kind is None or self._left <= 0:
                return None
            self._left -= 1
            self._queue.remove(kind)
            self._queue.append(kind)
            seconds = self._seconds[kind]
            coming = len(seconds)
            if not self._comes_always(kind):
                coming = max(1, coming - counts[kind])
            skip = dice.randrange(coming)
            return Aim(kind=kind, skip=skip, delay=dice.uniform(0, REACH * seconds[skip - coming]))

    def put_back(self, aim: Aim, *, soon: bool) -> None:
        """Take back a cut that was not made; soon: its kind is the next in turn."""
        with self._lock:
            self._left += 1
            if soon:
                self._queue.remove(aim.kind)
                self._queue.insert(0, aim.kind)

    def learn(self, markers: list[Marker]) -> None:
        """Add kinds that only come in a boot after a cut."""
        with self._lock:
            for kind, seconds in durations(markers).items():
                # What came last had no next marker that would tell how long it takes.
                if kind not in self._seconds and kind != markers[-1].kind:
                    self._seconds[kind] = seconds
                    self._queue.append(kind)

    def close(self) -> None:
        """Hand out no more cuts."""
        with self._lock:
            self._left = 0

    def kinds(self) -> Collection[str]:
        """Return all kinds, in the order in which they first came."""
        return self._seconds.keys()

    def _comes_always(self, kind: str) -> bool:
        """Tell whether a kind comes in each boot: before the first write, or, learnt, in each after a cut."""
        return self._first.get(kind, -1) < self._writes_from and kind != RESULT

    def _comes(self, kind: str, counts: Counter[str]) -> bool:
        if not counts:
            return kind in self._first
        reached = max(self._first.get(known, 0) for known in counts)
        return self._comes_always(kind) or self._last[kind] >= reached
