"""Frames: an image in pieces of 2 MiB, each compressed by itself, so that every processor works and holes cost nothing.

Concatenated zstd frames are one valid zstd file, and concatenated gzip members one valid gzip file (RFC 8878, 3; RFC
1952, 2.2). Reader, compressors and writer run side by side; what waits between them is bounded.
"""

import time
import zlib
from array import array
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache

from lvpack_agent import pipes
from lvpack_agent.errors import Failed
from lvpack_agent.image import files, zstd
from lvpack_agent.image.checksums import Checksums, Digest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.image.pieces import LONGEST_HOLE, PIECE, Piece, longest_hole
from lvpack_agent.layout.ranges import Range
from lvpack_agent.parallel import Window
from lvpack_agent.pipes import is_zero
from lvpack_agent.resources import worker_count
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.stored import Stored
from lvpack_agent.sizes import KIB

_GZIP = 16 + zlib.MAX_WBITS


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


def most(block_map: Sequence[Range], size: int, compression: Compression) -> int:
    """Return how many bytes an image of size bytes takes at most, of which a block map holds data.

    What does not compress grows by a block header of 3 bytes in 128 KiB (RFC 8878, 3.1.1), or by 5 bytes in 64 KiB (RFC
    1951, 3.2.4). A piece has a frame and a line of the seek table, and what zeros between its data take.
    """
    if compression.method == "none":
        return size
    longest, whole = longest_hole(compression), size // PIECE + 1
    data = sum(part.count for part in block_map)
    pieces = min(data // PIECE + 2 * len(block_map), whole)
    holes = min(size // longest + 2 * (len(block_map) + 1), whole)
    return data + data // 1000 + pieces * 4 * KIB + holes * (len(frame_of_zeros(longest, compression)) + 8) + KIB


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
    stored: Stored, put: Callable[[int, Piece], object], on_stored: Callable[[int], object] = lambda _: None
) -> Checksums:
    """Decompress an image file and return its checksums; on_stored gets the stored length of what was read.

    put gets byte offsets and pieces; from a zstd file several at a time, in threads of their own. Raises Failed if the
    file cannot be read or decompressed.
    """
    digest = Digest()
    with Window(1, "hash") as hasher:

        def tap(data: bytes) -> None:
            hasher.submit(digest.add, data)
            on_stored(len(data))

        blocks = pipes.tapped(stored.blocks(), tap)
        raw = _framed(stored, blocks, put) if files.is_zstd(stored.name) else _streamed(stored, blocks, put)
    return Checksums(stored_size=digest.size, stored_sha256=digest.hex(), raw_size=raw)


def _streamed(stored: Stored, blocks: Generator[bytes], put: Callable[[int, Piece], object]) -> int:
    at = 0

    def take(data: bytes) -> None:
        nonlocal at
        put(at, len(data) if is_zero(data) else data)
        at += len(data)

    pipes.pump(files.decompressor(stored.name), blocks, take)
    return at


def read_table(stored: Stored) -> "array[int]":
    """Return the sizes of a zstd image's frames from its seek table, as zstd.seek_table() takes them.

    Raises Damaged if there is no table, or if it has frames larger than lvpack makes them.
    """
    sizes = zstd.read_seek_table(stored)
    # No frame is larger than this: a table that says so would only make us take memory.
    if max(sizes[::2], default=0) > 2 * PIECE or max(sizes[1::2], default=0) > LONGEST_HOLE:
        raise zstd.Damaged(f"cannot read '{stored.name}': its seek table is damaged")
    return sizes


def check_table(stored: Stored, block_map: Sequence[Range], size: int) -> None:
    """Compare a zstd image's seek table with its block map, and with the bytes (size) that it should hold.

    The image is cut as pieces() cuts it. Raises Damaged if they disagree: then the map leaves out data, or it belongs
    to another image. Data within a piece that the map leaves out is found only when the piece is decompressed.
    """
    sizes = read_table(stored)
    found = sum(sizes[1::2])
    if found != size:
        raise zstd.Damaged(f"cannot use '{stored.name}': by its seek table it holds {found:,} bytes, not {size:,}")
    at = index = 0
    for length, count in zip(sizes[::2], sizes[1::2], strict=True):
        end = at + count
        while index < len(block_map) and block_map[index].end <= at:
            index += 1
        if index < len(block_map) and block_map[index].start < end:
            if count > PIECE:
                raise zstd.Damaged(f"cannot use '{stored.name}': it has a hole at byte {at:,}, the block map has data")
        elif length != len(zstd.hole(count)):
            raise zstd.Damaged(f"cannot use '{stored.name}': it has data at byte {at:,}, the block map has none")
        at = end


def _framed(stored: Stored, blocks: Generator[bytes], put: Callable[[int, Piece], object]) -> int:
    sizes = read_table(stored)
    buffer = bytearray()
    at = 0

    def take(at: int, data: bytes, count: int) -> None:
        if data == zstd.hole(count):
            put(at, count)
            return
        if count > PIECE:
            raise zstd.Damaged(f"cannot read '{stored.name}': its seek table has a frame of {count:,} bytes")
        put(at, zstd.decompress(data, count))

    with closing(blocks), Window(worker_count(), "decompress") as pool:
        for length, count in zip(sizes[::2], sizes[1::2], strict=True):
            while len(buffer) < length:
                if not (block := next(blocks, b"")):
                    raise Failed(f"cannot read '{stored.name}': it became shorter meanwhile")
                buffer += block
            pool.submit(take, at, bytes(buffer[:length]), count)
            del buffer[:length]
            at += count
        for _ in blocks:
            pass  # the seek table
    return at
