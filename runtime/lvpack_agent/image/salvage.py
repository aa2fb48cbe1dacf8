"""Reading what a failing disk still gives: what cannot be read as a whole is read in smaller and smaller steps."""

import errno
import time
from collections.abc import Callable
from itertools import pairwise

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.layout.ranges import Lookup, Range, joined
from lvpack_agent.sizes import KIB

# From step to step a bad sector costs one more attempt that fails, which takes a disk seconds.
STEPS = (64 * KIB, 4 * KIB)
# What of a region (2 MiB at most) was not tried after so long in reads that failed is given up: each bad sector may
# take a disk 30 s.
REGION_SECONDS = 60.0
# So many places make a set of no use, and a list that nobody reads.
MOST_PLACES = 10_000
# What a disk says of a place that it cannot read (kernel: block/blk-core.c, blk_errors); not of one that is gone.
BAD = (errno.EIO, errno.ENODATA, errno.EILSEQ, errno.ETIMEDOUT, errno.EREMOTEIO)


def untried(count: int) -> str:
    """Return a warning of bytes that were given up."""
    return (
        f"{count:,} bytes around bad sectors were not tried, as a region of 2 MiB takes {REGION_SECONDS:.0f} s at "
        "most: they count as lost"
    )


class Unreadable(Failed):
    """A device that cannot be read at a byte (at)."""

    def __init__(self, message: str, *, at: int, number: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.at = at
        self.number = number


class Salvage:
    """Fills what of a device could not be read as a whole, and keeps the ranges in bytes that are lost: zeros.

    read(at, count) reads whole sectors past the cache; it raises OSError. judge gets the ranges of a region that are
    lost; it returns whether the first is to be read once more, as the disk gives it by now, and raises Failed if it is
    not bad sectors that are the cause.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        sector: int,
        judge: Callable[[tuple[Range, ...]], bool | None] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._sector, self._judge, self._clock = read, sector, judge, clock
        self._spent = 0.0
        self.lost: tuple[Range, ...] = ()
        self.given_up: tuple[Range, ...] = ()

    def fill(self, view: memoryview, at: int) -> None:
        """Fill the view with the device's bytes from byte at on; what cannot be read stays as it is there."""
        self._spent = 0.0
        end = at + len(view)
        found = self._fill(view, at, at // self._sector * self._sector, end)
        # What was not tried may well be read when the cause is looked for.
        while tried := [r for part in found for r in Lookup(self.given_up).outside(part.start, part.count)]:
            if not self._judge(tuple(tried)):
                break
            again = tried[0]
            others = [r for part in found for r in Lookup((again,)).outside(part.start, part.count)]
            found = joined((*others, *self._fill(view, at, again.start, min(again.end, end))))
        self.lost = joined((*self.lost, *found))
        if len(self.lost) > MOST_PLACES:
            raise Failed(
                f"cannot go on: the disk cannot be read in more than {MOST_PLACES:,} places",
                hint="copy it with ddrescue first, which takes the time that such a disk needs, and pack the copy",
            )

    def _fill(self, view: memoryview, at: int, first: int, end: int) -> tuple[Range, ...]:
        """Fill what the view, which begins at byte at, has from first to end; return the ranges that are lost."""
        lost: list[Range] = []
        for part, data in self._parts(first, end):
            if data is None:
                lost.append(part)
                continue
            start, stop = max(at, part.start), min(end, part.end)
            view[start - at : stop - at] = data[start - part.start : stop - part.start]
        return joined(lost)

    def _parts(self, first: int, end: int) -> "list[tuple[Range, bytes | None]]":
        """Return the sectors from first to end in parts, in any order, with their bytes, or None for those lost."""
        done: list[tuple[Range, bytes | None]] = []
        waiting = self._cut(first, end, STEPS[0])
        while waiting:
            part = waiting.pop()
            if self._spent > REGION_SECONDS:
                self.given_up = joined((*self.given_up, part))
                done.append((part, None))
                continue
            begun = self._clock()
            try:
                data = self._read(part.start, part.count)
                if len(data) < min(part.count, end - part.start):
                    raise OSError(errno.EIO, "it ends early")
                done.append((part, data))
            except OSError as error:
                if error.errno not in BAD:
                    raise
                if not places.AWAY.exists():
                    self._spent += self._clock() - begun
                if part.count <= self._sector:
                    done.append((part, None))
                else:
                    step = next((s for s in STEPS if self._sector < s < part.count), self._sector)
                    waiting += self._cut(part.start, part.end, step)
        return done

    def _cut(self, start: int, end: int, step: int) -> list[Range]:
        """Return the parts of a range, at whole steps, the first one last; each has whole sectors."""
        end = -(-end // self._sector) * self._sector
        cuts = [start, *range(start // step * step + step, end, step), end]
        return [Range(start=a, count=b - a) for a, b in pairwise(cuts)][::-1]
