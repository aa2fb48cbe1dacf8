"""Frames: an image in pieces of 2 MiB, each compressed by itself, so that every processor works and holes cost nothing.

Concatenated zstd frames are one valid zstd file, and concatenated gzip members one valid gzip file (RFC 8878, 3; RFC
1952, 2.2). A zstd image ends with the seek table of the zstd seekable format (zstd: contrib/seekable_format), a
skippable frame that decompressors pass over.
"""

import ctypes
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.layout import Range
from lvpack_agent.options import Compression
from lvpack_agent.sizes import MIB
from lvpack_agent.streams import Checksums, Digest

PIECE = 2 * MIB
# Bytes that each worker takes at most: its piece, its frame, what waits for its turn, and zstd's own tables.
WORKER_MEMORY = 16 * MIB
MAX_WORKERS = 8
_SKIPPABLE_MAGIC, _SEEKABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1
_GZIP = 16 + zlib.MAX_WBITS


@cache
def _libzstd() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise Failed(
            f"cannot compress by zstd: {error}", hint="install libzstd1, or use lvpack.compress=gzip"
        ) from None
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    return library


def _zstd(data: bytes, level: int) -> bytes:
    library = _libzstd()
    room = library.ZSTD_compressBound(len(data))
    frame = ctypes.create_string_buffer(room)
    size = library.ZSTD_compress(frame, room, data, len(data), level)  # ctypes lets other threads run meanwhile
    if library.ZSTD_isError(size):
        raise Failed(f"cannot compress by zstd: error {size}")
    return ctypes.string_at(frame, size)


def frame(data: bytes, compression: Compression) -> bytes:
    """Return data as a frame that decompresses by itself."""
    if compression.method == "zstd":
        return _zstd(data, compression.level)
    if compression.method == "gzip":
        packer = zlib.compressobj(compression.level, zlib.DEFLATED, _GZIP)
        return packer.compress(data) + packer.flush()
    return data


@cache
def frame_of_zeros(count: int, compression: Compression) -> bytes:
    """Return the ready-made frame of a hole."""
    return frame(bytes(count), compression)


def seek_table(sizes: Sequence[tuple[int, int]]) -> bytes:
    """Return the seek table for frames of these (stored, raw) sizes."""
    entries = b"".join(struct.pack("<II", stored, raw) for stored, raw in sizes)
    footer = struct.pack("<IBI", len(sizes), 0, _SEEKABLE_MAGIC)
    return struct.pack("<II", _SKIPPABLE_MAGIC, len(entries) + len(footer)) + entries + footer


def pieces(path: Path, ranges: Sequence[Range], size: int) -> Generator[bytes | int]:
    """Yield size bytes of a device or file as pieces; one that no range touches is a hole: its length alone.

    ranges are in bytes, ascending and apart; what is in none of them is zeros and not read. Raises Failed if the
    device cannot be read or is shorter than they say.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    at = index = 0
    try:
        for start in range(0, size, PIECE):
            end = min(start + PIECE, size)
            buffer: bytearray | None = None
            while index < len(ranges) and ranges[index].start < end:
                part = ranges[index]
                buffer = bytearray(end - start) if buffer is None else buffer
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
            if buffer is not None:
                # What was read will not be read again; a small machine needs its memory for the store.
                os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
            yield end - start if buffer is None else bytes(buffer)
        assert index == len(ranges), "a range lies beyond the end"
    except OSError as error:
        raise Failed(f"cannot read '{path}' at byte {at:,}: {error.strerror}") from error
    finally:
        os.close(fd)


def worker_count() -> int:
    """Return how many pieces are compressed at a time: one a processor, within limits."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)


def write(
    source: Generator[bytes | int],
    compression: Compression,
    sink: Callable[[bytes], object],
    done: Callable[[int], object],
) -> Checksums:
    """Compress pieces on all processors, in order, into sink; done gets the raw length of each that is written."""
    workers = worker_count()
    stored, raw = Digest(), Digest()
    sizes: list[tuple[int, int]] = []
    waiting: deque[tuple[int, Future[bytes], Future[None]]] = deque()

    def put(data: bytes) -> None:
        stored.add(data)
        sink(data)

    def take() -> None:
        count, compressed, hashed = waiting.popleft()
        hashed.result()
        data = compressed.result()
        put(data)
        sizes.append((len(data), count))
        done(count)

    with (
        closing(source),
        ThreadPoolExecutor(workers, "compress") as pool,
        ThreadPoolExecutor(1, "hash") as hasher,
    ):
        for piece in source:
            count = piece if isinstance(piece, int) else len(piece)
            ready = (
                pool.submit(frame_of_zeros, count, compression)
                if isinstance(piece, int)
                else pool.submit(frame, piece, compression)
            )
            hashed = hasher.submit(raw.add, bytes(count) if isinstance(piece, int) else piece)
            waiting.append((count, ready, hashed))
            del piece
            if len(waiting) > workers + 1:
                take()
        while waiting:
            take()
    if compression.method == "zstd":
        put(seek_table(sizes))
    return Checksums(stored_size=stored.size, stored_sha256=stored.hex(), raw_size=raw.size, raw_sha256=raw.hex())
