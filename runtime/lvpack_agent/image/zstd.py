"""zstd by its library: frames with a checksum each, frames of holes, and the seek table of the seekable format.

The format is RFC 8878; a seek table is the skippable frame of zstd's contrib/seekable_format, which decompressors pass
over.
"""

import ctypes
import struct
import sys
import threading
import typing
from array import array
from collections.abc import Iterable
from functools import cache

from lvpack_agent.errors import Failed
from lvpack_agent.shares.stored import Stored
from lvpack_agent.sizes import KIB

# zstd.h: enum ZSTD_cParameter.
_LEVEL, _CHECKSUM_FLAG = 100, 201
_FRAME_MAGIC, _SKIPPABLE_MAGIC, _SEEKABLE_MAGIC = 0xFD2FB528, 0x184D2A5E, 0x8F92EAB1
_FOOTER = struct.Struct("<IBI")
_BLOCK = 128 * KIB
_RAW, _RLE = 0, 1


class Damaged(Failed):
    """A file should be a zstd file and is none, or is not as it was written."""


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise Failed(f"cannot use zstd: {error}", hint="install libzstd1, or use lvpack.compress=gzip") from None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("ZSTD_createCCtx", pointer, []),
        ("ZSTD_createDCtx", pointer, []),
        ("ZSTD_freeCCtx", size, [pointer]),
        ("ZSTD_freeDCtx", size, [pointer]),
        ("ZSTD_CCtx_setParameter", size, [pointer, ctypes.c_int, ctypes.c_int]),
        ("ZSTD_compressBound", size, [size]),
        ("ZSTD_compress2", size, [pointer, pointer, size, pointer, size]),
        ("ZSTD_decompressDCtx", size, [pointer, pointer, size, pointer, size]),
        ("ZSTD_isError", ctypes.c_uint, [size]),
        ("ZSTD_getErrorName", ctypes.c_char_p, [size]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Contexts:
    """The library's working memory for one thread, given back when the thread ends.

    ctypes lets other threads run during a call, and two in one context would make rubbish.
    """

    def __init__(self) -> None:
        library = _library()
        self.compressing, self.decompressing = library.ZSTD_createCCtx(), library.ZSTD_createDCtx()
        self._free = library.ZSTD_freeCCtx, library.ZSTD_freeDCtx
        if not self.compressing or not self.decompressing:
            raise Failed("cannot use zstd: no memory")

    def __del__(self) -> None:
        free_compressing, free_decompressing = self._free
        free_compressing(self.compressing)
        free_decompressing(self.decompressing)


# The only variable of a module that changes at run time: without it, contexts would be made and freed for each piece.
_of_this_thread = threading.local()


def _contexts() -> _Contexts:
    """Return the contexts of this thread. The caller has to keep the object while it uses one of them."""
    try:
        return typing.cast(_Contexts, _of_this_thread.contexts)
    except AttributeError:
        _of_this_thread.contexts = _Contexts()
        return typing.cast(_Contexts, _of_this_thread.contexts)


def _checked(status: int, verb: str, error: type[Failed] = Failed) -> int:
    if _library().ZSTD_isError(status):
        raise error(f"cannot {verb} by zstd: {_library().ZSTD_getErrorName(status).decode()}")
    return status


def _address(buffer: bytearray) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * len(buffer)).from_buffer(buffer)


def compress(data: bytes | bytearray, level: int) -> bytes:
    """Return data as a frame of its own, with its size and checksum in it; level is 1 to 19."""
    library, contexts = _library(), _contexts()
    context = contexts.compressing
    _checked(library.ZSTD_CCtx_setParameter(context, _LEVEL, level), "compress")
    _checked(library.ZSTD_CCtx_setParameter(context, _CHECKSUM_FLAG, 1), "compress")
    room = bytearray(library.ZSTD_compressBound(len(data)))
    source = _address(data) if isinstance(data, bytearray) else data
    size = _checked(library.ZSTD_compress2(context, _address(room), len(room), source, len(data)), "compress")
    return bytes(memoryview(room)[:size])


def decompress(frame: bytes, count: int) -> bytearray:
    """Return the count bytes of a frame. Raises Damaged if it holds another number of bytes, or is damaged."""
    room = bytearray(count)
    target = _address(room) if room else None
    contexts = _contexts()
    status = _library().ZSTD_decompressDCtx(contexts.decompressing, target, count, frame, len(frame))
    size = _checked(status, "decompress", Damaged)
    if size != count:
        raise Damaged(f"cannot decompress by zstd: a frame holds {size:,} bytes, not {count:,}")
    return room


@cache
def hole(count: int) -> bytes:
    """Return the frame of count zeros: blocks of 128 KiB that each say one byte and how often; no checksum."""
    # Frame header: 4 bytes of content size, a window of one block (RFC 8878, 3.1.1.1).
    header = struct.pack("<IBBI", _FRAME_MAGIC, 0x80, 7 << 3, count)
    full, rest = divmod(count, _BLOCK)
    sizes = [_BLOCK] * full + ([rest] if rest else [])
    blocks = [struct.pack("<I", size << 3 | _RLE << 1)[:3] + b"\0" for size in sizes]
    # An empty block of bytes as they are ends the frame.
    return header + b"".join(blocks) + struct.pack("<I", _RAW << 1 | 1)[:3]


def seek_table(sizes: Iterable[int]) -> bytes:
    """Return the seek table of frames; sizes are stored and raw of the first, stored and raw of the second, …"""
    numbers = array("I", sizes)
    if sys.byteorder != "little":
        numbers.byteswap()
    entries = numbers.tobytes()
    footer = _FOOTER.pack(len(entries) // 8, 0, _SEEKABLE_MAGIC)
    return struct.pack("<II", _SKIPPABLE_MAGIC, len(entries) + len(footer)) + entries + footer


def read_seek_table(stored: Stored) -> "array[int]":
    """Return the sizes that the seek table at the end of a file has, as seek_table() takes them.

    Raises Damaged if there is no table, or one that does not fit the file.
    """
    try:
        return _read_seek_table(stored)
    except OSError as error:
        raise Failed(f"cannot read '{stored.name}': {error.strerror}") from error
    except (ValueError, struct.error):
        raise Damaged(f"cannot read '{stored.name}': its seek table is damaged or missing") from None


def _read_seek_table(stored: Stored) -> "array[int]":
    end = stored.size()
    count, descriptor, magic = _FOOTER.unpack(stored.read(max(0, end - _FOOTER.size), _FOOTER.size))
    length = 8 * count + _FOOTER.size
    begin = end - 8 - length
    if (magic, descriptor) != (_SEEKABLE_MAGIC, 0) or begin < 0:
        raise ValueError
    table = stored.read(begin, 8 + 8 * count)
    if len(table) != 8 + 8 * count or table[:8] != struct.pack("<II", _SKIPPABLE_MAGIC, length):
        raise ValueError
    sizes = array("I")
    sizes.frombytes(table[8:])
    if sum(sizes[::2]) != begin:
        raise ValueError
    return sizes
