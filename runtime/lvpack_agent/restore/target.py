"""Writing a target disk: what the block map says, many pieces at a time; and reading that again."""

import errno
import fcntl
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.image.pieces import PIECE, Piece
from lvpack_agent.layout.ranges import Lookup, Range
from lvpack_agent.parallel import Window
from lvpack_agent.pipes import is_zero
from lvpack_agent.plan.grow_disks import Place, whole_image
from lvpack_agent.resources import worker_count
from lvpack_agent.sizes import KIB, MIB

# The first MiB holds the boot sector and the partition table. It is written last, when all the rest has arrived
# unharmed: a restore that was cut off leaves a disk that nothing takes for a good one.
HEAD = MIB
# The boot sector, on disks with sectors of any size. Without it nothing looks for a GPT.
BLOCK = 4 * KIB
SYNC_EVERY = 64 * MIB
# A gap that is shorter is written as the zeros that it holds: a call of its own would take longer.
SHORT_GAP = 64 * KIB
# The ends of a hole are written as zeros this far: no signature of leftovers is further inside (ZFS labels: 512 KiB).
EDGE = MIB

# kernel: include/uapi/linux/fs.h, _IO(0x12, 119) and _IO(0x12, 127); both take start and length in bytes.
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F


class Target:
    """An open disk that gets the pieces of an image of size bytes; done gets the bytes of each that is written.

    places says where on the disk the image's bytes go; by default where they are in the image. Holes become zeros where
    the disk has a command for that; else they are discarded, or stay as they are but for their ends, as with
    bmaptool(1). Raises OSError as the disk does.
    """

    def __init__(
        self,
        fd: int,
        queue: Path,
        block_map: Sequence[Range],
        size: int,
        done: Callable[[int], object],
        places: Sequence[Place] = (),
    ) -> None:
        self._fd, self.size, self._done = fd, size, done
        self._places = places or whole_image(size)
        self._map = Lookup([Range(start=0, count=min(HEAD, size)), *block_map])
        self._zeroes, self._discards = (_limit(queue / f"{name}_max_bytes") > 0 for name in ("write_zeroes", "discard"))
        self._head = bytearray(min(HEAD, size))
        self._finished = False
        self._lock = threading.Lock()
        self._unsynced = 0
        # Of each piece that was written: where it is, how long, and its checksum.
        self._written = array("Q"), array("Q"), array("I")

    def put(self, at: int, piece: Piece) -> None:
        """Write a piece to a byte offset, except the part of it that is the disk's head.

        Raises Failed if the image promised fewer bytes.
        """
        count = piece if isinstance(piece, int) else len(piece)
        if at + count > self.size:
            raise Failed(f"cannot restore: the image is longer than the {self.size:,} bytes that were promised")
        data = None if isinstance(piece, int) else memoryview(piece)
        checksum = 0
        for place in self._placed(at, count):
            shift, end = place.to - place.start, place.start
            for where in self._to_write(place.start, place.count):
                self._hole(end + shift, where.start - end)
                end = where.end
                part = data[where.start - at : where.end - at] if data else bytes(where.count)
                checksum = zlib.crc32(part, checksum)
                offset = where.start + shift
                head = _in_head(offset, where.count)
                self._head[offset : offset + head] = part[:head]
                self._write(part[head:], offset + head)
            self._hole(end + shift, place.start + place.count - end)
        with self._lock:
            for column, value in zip(self._written, (at, count, checksum), strict=True):
                column.append(value)
            self._unsynced += count
            due = self._unsynced >= SYNC_EVERY
            self._unsynced = 0 if due else self._unsynced
        if due:
            os.fdatasync(self._fd)  # keeps progress honest, and dirty pages few
        self._done(count)

    @property
    def head(self) -> bytes:
        """The first bytes of the disk, which are not written before finish()."""
        return bytes(self._head)

    def flush(self) -> None:
        """Wait until all that was written is on the medium."""
        os.fdatasync(self._fd)

    def finish(self) -> None:
        """Write the head, and wait until all is on the medium."""
        self.flush()
        put_head(self._fd, self.head)
        self._finished = True

    def read_again(self, path: str, done: Callable[[int], object]) -> None:
        """Read what was written from the disk. Raises Failed if that is not what was written."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Window(worker_count(), "read") as readers:
                for at, count, checksum in zip(*self._written, strict=True):
                    readers.submit(self._compare, fd, path, at, count, checksum, done)
        finally:
            os.close(fd)

    def _compare(self, fd: int, path: str, at: int, count: int, checksum: int, done: Callable[[int], object]) -> None:
        found = 0
        try:
            for place in self._placed(at, count):
                for where in self._to_write(place.start, place.count):
                    for start in range(where.start, where.end, PIECE):
                        length = min(PIECE, where.end - start)
                        found = zlib.crc32(self._read(fd, start + place.to - place.start, length), found)
        except OSError as error:
            raise Failed(
                f"cannot read disk '{path}' near byte {at:,}: {error.strerror}", hint="look at dmesg: is it sound?"
            ) from error
        if found != checksum:
            raise Failed(
                f"cannot trust disk '{path}': it does not read back what was written to it near byte {at:,}",
                hint="the disk, its cable or the memory is faulty: test them before using this machine",
            )
        done(count)

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        """Return bytes of the disk; a head that is not written yet is taken as it will be."""
        data = os.pread(fd, length, offset)
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
        head = 0 if self._finished else _in_head(offset, length)
        return bytes(self._head[offset : offset + head]) + data[head:]

    def _placed(self, at: int, count: int) -> Iterator[Place]:
        """Yield where on the disk count bytes of the image go, from byte at on."""
        for place in self._places:
            start, end = max(at, place.start), min(at + count, place.start + place.count)
            if start < end:
                yield Place(start=start, count=end - start, to=place.to + start - place.start)

    def _to_write(self, at: int, count: int) -> list[Range]:
        """Return what to write of a piece: mapped ranges, with short gaps between them."""
        found: list[Range] = []
        for part in self._map.within(at, count):
            start = part.start
            if found and start - found[-1].end < SHORT_GAP:
                start = found.pop().start
            found.append(Range(start=start, count=part.end - start))
        return found

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        if self._zeroes and len(data) and is_zero(data):
            self._call(BLKZEROOUT, offset, len(data))
            return
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[count:], offset + count

    def _hole(self, start: int, count: int) -> None:
        if count <= 0:
            return
        if self._zeroes:
            self._call(BLKZEROOUT, start, count)
            return
        if self._discards:
            try:
                self._call(BLKDISCARD, start, count)
            except OSError:  # a disk may announce what it then refuses; it is advice only
                self._discards = False
        edge = min(EDGE, count)
        for offset in {start, start + count - edge}:
            self._write(bytes(edge), offset)

    def _call(self, command: int, start: int, count: int) -> None:
        fcntl.ioctl(self._fd, command, struct.pack("QQ", start, count))


def put_head(fd: int, head: bytes) -> None:
    """Write the head of an open disk, its first block last of all: until then there is no partition table."""
    os.pwrite(fd, head[BLOCK:], BLOCK)
    os.fsync(fd)
    os.pwrite(fd, head[:BLOCK], 0)
    os.fsync(fd)


def _in_head(offset: int, count: int) -> int:
    """Return how many of count bytes from an offset on are in the disk's head."""
    return min(count, max(0, HEAD - offset))


def _limit(path: Path) -> int:
    try:
        return int(path.read_text())
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return 0
