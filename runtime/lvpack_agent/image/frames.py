"""Frames: an image in pieces of 2 MiB, each compressed by itself, so that every processor works and holes cost nothing.

Concatenated zstd frames are one valid zstd file, and concatenated gzip members one valid gzip file (RFC 8878, 3; RFC
1952, 2.2). Reader, compressors and writer run side by side; what waits between them is bounded.
"""

import os
import time
import zlib
from array import array
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from lvpack_agent import pipes
from lvpack_agent.errors import Failed
from lvpack_agent.image import files, zstd
from lvpack_agent.image.checksums import Checksums, Digest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.layout.ranges import Range
from lvpack_agent.parallel import Window
from lvpack_agent.pipes import is_zero
from lvpack_agent.resources import worker_count
from lvpack_agent.settings.values import Compression
from lvpack_agent.sizes import MIB

PIECE = 2 * MIB
# A hole is longer, where its frame need not be compressed: a TiB of it is 16,384 frames of 2 KiB.
LONGEST_HOLE = 64 * MIB

_GZIP = 16 + zlib.MAX_WBITS

# A piece of an image: its bytes, or the length of a hole.
Piece = bytes | bytearray | int


def longest_hole(compression: Compression) -> int:
    return LONGEST_HOLE if compression.method == "zstd" else PIECE


def frame(data: bytes | bytearray, compression: Compression, level: int) -> bytes | bytearray:
    """Return data as a frame that decompresses by itself."""
    if compression.method == "zstd":
        return zstd.compress(data, level)
    if compression.method == "gzip":
        packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        return packer.compress(data) + packer.flush()
    return data


@cache
def frame_of_zeros(count: int, compression: Compression) -> bytes | bytearray:
    """Return the ready-made frame of a hole."""
    if compression.method == "zstd":
        return zstd.hole(count)
    return frame(bytes(count), compression, compression.level)


def pieces(
    path: Path, ranges: Sequence[Range], size: int, longest: int = PIECE, on_read: Callable[[float], object] = id
) -> Generator[Piece]:
    """Yield size bytes of a device or file as pieces; those that no range touches are holes, joined up to longest.

    ranges are in bytes, ascending and apart; what is in none of them is zeros and not read. on_read gets the seconds
    that each piece took to read. Raises Failed if the device cannot be read or is shorter than they say.
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
                        count = os.preadv(fd, [view[at - start : stop - start]], at)
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
        raise Failed(f"cannot read '{path}' at byte {at:,}: {error.strerror}") from error
    finally:
        if fd >= 0:
            os.close(fd)


def write(
    source: Generator[Piece],
    compression: Compression,
    sink: Callable[[bytes | bytearray], object],
    done: Callable[[int], object],
    pace: Pace,
) -> Checksums:
    """Compress pieces on all processors, in order, into sink; done gets the raw length of each that is written."""
    stored = Digest()
    raw = 0
    sizes = array("I")

    def put(data: bytes | bytearray) -> None:
        hasher.submit(stored.add, data)
        begun = time.monotonic()
        sink(data)
        pace.wrote(time.monotonic() - begun)

    def timed(data: bytes | bytearray, level: int) -> bytes | bytearray:
        begun = time.monotonic()
        result = frame(data, compression, level)
        pace.compressed(time.monotonic() - begun)
        return result

    def finish(count: int, ready: "Future[bytes | bytearray] | bytes | bytearray") -> None:
        data = ready.result() if isinstance(ready, Future) else ready
        put(data)
        sizes.extend((len(data), count))
        done(count)

    with Window(1, "hash") as hasher:
        with (
            closing(source),
            ThreadPoolExecutor(pace.workers, "compress") as pool,
            Window(1, "write", waiting=pace.workers + 1) as writer,
        ):
            for piece in source:
                count = piece if isinstance(piece, int) else len(piece)
                ready = (
                    frame_of_zeros(piece, compression)
                    if isinstance(piece, int)
                    else pool.submit(timed, piece, pace.level())
                )
                del piece
                raw += count
                writer.submit(finish, count, ready)
                pace.look(time.monotonic())
        if compression.method == "zstd":
            put(zstd.seek_table(sizes))
    return Checksums(stored_size=stored.size, stored_sha256=stored.hex(), raw_size=raw)


def read(
    path: Path, put: Callable[[int, Piece], object], on_stored: Callable[[int], object] = lambda _: None
) -> Checksums:
    """Decompress an image file and return its checksums; on_stored gets the stored length of what was read.

    put gets byte offsets and pieces; from a zstd file several at a time, in threads of their own. Raises Failed if the
    file cannot be read or decompressed.
    """
    stored = Digest()
    with Window(1, "hash") as hasher:

        def tap(data: bytes) -> None:
            hasher.submit(stored.add, data)
            on_stored(len(data))

        blocks = pipes.tapped(pipes.file_blocks(path), tap)
        raw = _framed(path, blocks, put) if path.suffix == files.SUFFIXES["zstd"] else _streamed(path, blocks, put)
    return Checksums(stored_size=stored.size, stored_sha256=stored.hex(), raw_size=raw)


def _streamed(path: Path, blocks: Generator[bytes], put: Callable[[int, Piece], object]) -> int:
    at = 0

    def take(data: bytes) -> None:
        nonlocal at
        put(at, len(data) if is_zero(data) else data)
        at += len(data)

    pipes.pump(files.decompressor(path.name), blocks, take)
    return at


def read_table(path: Path) -> "array[int]":
    """Return the sizes of a zstd image's frames, as zstd.seek_table() takes them, from its seek table.

    Raises Damaged if there is none, or no image has such frames.
    """
    sizes = zstd.read_seek_table(path)
    # No frame is longer than this: what says so would only take memory.
    if max(sizes[::2], default=0) > 2 * PIECE or max(sizes[1::2], default=0) > LONGEST_HOLE:
        raise zstd.Damaged(f"cannot read '{path.name}': its seek table is damaged")
    return sizes


def check_table(path: Path, block_map: Sequence[Range], size: int) -> None:
    """Compare a zstd image's seek table with the block map and the bytes that it should hold, all as pieces() does.

    Raises Damaged if they disagree: then the map leaves out data, or is another image's. What a piece has of data
    where the map has none is seen only when it is decompressed.
    """
    sizes = read_table(path)
    found = sum(sizes[1::2])
    if found != size:
        raise zstd.Damaged(f"cannot use '{path.name}': by its seek table it holds {found:,} bytes, not {size:,}")
    at = index = 0
    for stored, count in zip(sizes[::2], sizes[1::2], strict=True):
        end = at + count
        while index < len(block_map) and block_map[index].end <= at:
            index += 1
        if index < len(block_map) and block_map[index].start < end:
            if count > PIECE:
                raise zstd.Damaged(f"cannot use '{path.name}': it has a hole at byte {at:,}, the block map has data")
        elif stored != len(zstd.hole(count)):
            raise zstd.Damaged(f"cannot use '{path.name}': it has data at byte {at:,}, the block map has none")
        at = end


def _framed(path: Path, blocks: Generator[bytes], put: Callable[[int, Piece], object]) -> int:
    sizes = read_table(path)
    buffer = bytearray()
    at = 0

    def take(at: int, data: bytes, count: int) -> None:
        if data == zstd.hole(count):
            put(at, count)
            return
        if count > PIECE:
            raise zstd.Damaged(f"cannot read '{path.name}': its seek table has a frame of {count:,} bytes")
        put(at, zstd.decompress(data, count))

    with closing(blocks), Window(worker_count(), "decompress") as pool:
        for length, count in zip(sizes[::2], sizes[1::2], strict=True):
            while len(buffer) < length:
                if not (block := next(blocks, b"")):
                    raise Failed(f"cannot read '{path.name}': it became shorter meanwhile")
                buffer += block
            pool.submit(take, at, bytes(buffer[:length]), count)
            del buffer[:length]
            at += count
        for _ in blocks:
            pass  # the seek table
    return at
