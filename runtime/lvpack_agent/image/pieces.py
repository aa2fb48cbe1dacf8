"""An image as pieces of 2 MiB and the holes between them, as they are read from a disk."""

import os
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.image.salvage import BAD, Salvage, Unreadable
from lvpack_agent.layout.ranges import Range
from lvpack_agent.settings.values import Compression
from lvpack_agent.sizes import MIB

PIECE = 2 * MIB
# With zstd a hole can be longer, as its frame is not compressed but made: a TiB of holes is 16,384 frames of 2 KiB.
LONGEST_HOLE = 64 * MIB

# A piece of an image: its bytes, or the length of a hole.
Piece = bytes | bytearray | int


def longest_hole(compression: Compression) -> int:
    """Return the most bytes that a hole may have."""
    return LONGEST_HOLE if compression.method == "zstd" else PIECE


def pieces(
    path: Path,
    ranges: Sequence[Range],
    size: int,
    longest: int = PIECE,
    on_read: Callable[[float], object] = id,
    salvage: Salvage | None = None,
) -> Generator[Piece]:
    """Yield size bytes of a device or file as pieces; those that no range touches are holes, joined up to longest.

    ranges are in bytes, ascending and apart; bytes in none of them are not read, and count as zeros. on_read gets the
    seconds that each piece took to read. What the device does not read, salvage fills if it is given. Raises Unreadable
    if the device cannot be read, Failed if it is shorter than the ranges say.
    """
    start = at = index = 0
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        while start < size:
            following = ranges[index].start if index < len(ranges) else size
            if following >= min(start + PIECE, size):
                # The grid of pieces goes on after a hole, so that pieces are whole wherever the map begins.
                end = min(following // PIECE * PIECE, start + longest) if following < size else size
                end = min(max(end, start + PIECE), start + longest, size)
                yield end - start
                start = end
                continue
            begun = time.monotonic()
            end = min(start + PIECE, size)
            buffer = bytearray(end - start)
            while index < len(ranges) and ranges[index].start < end:
                part = ranges[index]
                at, stop = max(start, part.start), min(end, part.end)
                with memoryview(buffer) as view:
                    while at < stop:
                        try:
                            count = os.preadv(fd, [view[at - start : stop - start]], at)
                        except OSError as error:
                            if salvage is None or error.errno not in BAD:
                                raise
                            with view[at - start : stop - start] as rest:
                                salvage.fill(rest, at)
                            count = stop - at
                        if not count:
                            raise Failed(f"cannot read '{path}': it ends at byte {at:,}, not {part.end:,}")
                        at += count
                if part.end > end:
                    break
                index += 1
            # What was read will not be read again; a small machine needs its memory for the store.
            os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
            on_read(time.monotonic() - begun)
            yield buffer
            start = end
        assert index == len(ranges), "a range lies beyond the end"
    except OSError as error:
        number = error.errno or 0
        raise Unreadable(f"cannot read '{path}' at byte {at:,}: {error.strerror}", at=at, number=number) from error
    finally:
        if fd >= 0:
            os.close(fd)
