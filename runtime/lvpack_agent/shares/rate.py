"""lvpack.rate: how fast images go to a share and come from it, by a token bucket in which a token is a byte."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from lvpack_agent.shares.stored import Sink, Stored
from lvpack_agent.sizes import KIB

# What is sent at a time takes SLICE_SECONDS at the rate, and has so many bytes; so much may be caught up with at once
# that was not sent when it could be. A sleep that is shorter than SHORTEST_SECONDS is put off to a later one.
SLICE_SECONDS, LEAST_SLICE, MOST_SLICE = 0.05, 4 * KIB, 256 * KIB
BURST_SECONDS, SHORTEST_SECONDS = 0.25, 0.005


class Rate:
    """At most so many bytes a second. For one thread at a time.

    hurries tells whether the run is to end: nobody waits then. waited is for how many seconds it was waited so far.
    """

    def __init__(
        self,
        rate: int,
        hurries: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate, self.waited = rate, 0.0
        self._hurries, self._clock, self._sleep = hurries, clock, sleep
        self._slice = min(max(int(rate * SLICE_SECONDS), LEAST_SLICE), MOST_SLICE)
        self._left, self._since = 0.0, clock()

    def take(self, count: int) -> None:
        """Wait until so many bytes may pass: they are taken first, and what is missing then is waited for.

        So a sleep that takes too long is made up for by the next ones.
        """
        for at in range(0, count, self._slice):
            self._take(min(self._slice, count - at))

    def _take(self, count: int) -> None:
        now = self._clock()
        self._left = min(self._left + (now - self._since) * self.rate, self.rate * BURST_SECONDS) - count
        self._since = now
        missing = -self._left / self.rate
        if missing >= SHORTEST_SECONDS and not self._hurries():
            self._sleep(missing)
            self.waited += self._clock() - now

    def slices(self, data: bytes | bytearray) -> Iterator[bytes | bytearray]:
        """Yield data piece by piece, each when it may pass."""
        for at in range(0, len(data), self._slice):
            part = data[at : at + self._slice] if len(data) > self._slice else data
            self._take(len(part))
            yield part

    def through(self, sink: Sink) -> Sink:
        """Return what writes to a sink no faster than that."""

        def slowed(data: bytes | bytearray) -> None:
            for part in self.slices(data):
                sink(part)

        return slowed

    def blocks(self, source: Generator[bytes]) -> Generator[bytes]:
        """Yield the blocks of a source no faster than that; close it at the end."""
        with closing(source):
            for data in source:
                self.take(len(data))
                yield data


class Slowed:
    """A file of a set (Stored) that is read no faster than a rate; parts of it that are asked for are small."""

    def __init__(self, stored: Stored, rate: Rate) -> None:
        self._stored, self._rate = stored, rate

    @property
    def name(self) -> str:
        """Its last name."""
        return self._stored.name

    def size(self) -> int:
        """Return how many bytes it has. Raises as the file does."""
        return self._stored.size()

    def read(self, at: int, count: int) -> bytes:
        """Return count bytes from byte at on, fewer at its end. Raises OSError."""
        return self._stored.read(at, count)

    def blocks(self) -> Generator[bytes]:
        """Yield it block by block. Raises Failed."""
        return self._rate.blocks(self._stored.blocks())
