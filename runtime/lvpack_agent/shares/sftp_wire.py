"""SFTP, version 3, over a pair of pipes: packets out and in, many under way at a time.

The protocol is draft-ietf-secsh-filexfer-02; what begins with @openssh.com is in OpenSSH's PROTOCOL, section 4.
"""

import errno
import os
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass

from lvpack_agent.printable import printable
from lvpack_agent.shares.waiting import Gone, Waiting

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT = 1, 2, 3, 4, 5, 6, 7
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, STAT, RENAME = 11, 12, 13, 14, 15, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 101, 102, 103, 104, 105, 200
# Flags of OPEN; statuses; flags of attributes (sections 6.3, 7 and 5).
FOR_READING, FOR_WRITING, NEW, EXCLUSIVE = 0x01, 0x02, 0x08, 0x20
_OK, _EOF, _NO_SUCH_FILE, _DENIED, _UNSUPPORTED = 0, 1, 2, 3, 8
_SIZE, _OWNERS, _PERMISSIONS, _TIMES, _MORE = 0x01, 0x02, 0x04, 0x08, 0x80000000
_VERSION = 3
# A packet has no more; servers take 34,000 bytes and send 256 KiB (OpenSSH: SFTP_MAX_MSG_LENGTH).
MOST = 256 * 1024
# Each server takes and sends as much in a packet (section 3); so many are under way: 2 MiB.
CHUNK, WINDOW = 32 * 1024, 64
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a server says of a file: size in bytes, mode as in stat(2), when it was changed in seconds since 1970."""

    size: int = 0
    mode: int = 0
    modified: int = 0


class Broken(OSError):
    """The server says what no server of SFTP says."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EPROTO, f"the server does not speak SFTP as lvpack does: {what}")


class Wire:
    """A connection. Requests are sent with send(); answer() waits for that of one, in any order.

    ended says why it may have ended, for Gone. Raises OSError as the server says, Gone if the connection ends.
    is_broken: what was sent or read has stopped in the middle of a packet, as by Ended; nothing can follow it.
    """

    def __init__(self, reading: int, writing: int, waiting: Waiting, ended: Callable[[], str]) -> None:
        self._reading, self._writing, self._waiting, self._ended = reading, writing, waiting, ended
        os.set_blocking(writing, False)
        self._buffer = bytearray()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._wanted: set[int] = set()
        self._last, self.is_broken = 0, False
        self._write(bytes([INIT]) + struct.pack(">I", _VERSION))
        kind, body = self._packet()
        if kind != VERSION:
            raise Broken(f"packet {kind} instead of its version")
        self.extensions = {}
        rest = Reader(body)
        rest.number()
        while rest.left():
            name = rest.text()
            self.extensions[name] = rest.text()

    def send(self, kind: int, *fields: bytes) -> int:
        """Send a request, and return the number by which its answer is known."""
        self._last = (self._last + 1) & 0xFFFFFFFF
        self._wanted.add(self._last)
        self._write(bytes([kind]) + struct.pack(">I", self._last) + b"".join(fields))
        return self._last

    def answer(self, request: int) -> tuple[int, "Reader"]:
        """Return kind and body of the answer to a request. Raises OSError if it is a status other than OK and EOF."""
        while request not in self._answers:
            kind, body = self._packet()
            number = struct.unpack_from(">I", body)[0] if len(body) >= 4 else -1
            if number not in self._wanted:
                raise Broken(f"an answer to request {number}, which it never got")
            self._answers[number] = kind, body[4:]
        self._wanted.discard(request)
        kind, body = self._answers.pop(request)
        rest = Reader(body)
        if kind == STATUS:
            _check(rest)
        return kind, rest

    def ask(self, kind: int, *fields: bytes) -> tuple[int, "Reader"]:
        """Send a request, and return its answer."""
        return self.answer(self.send(kind, *fields))

    def _write(self, packet: bytes) -> None:
        rest = memoryview(struct.pack(">I", len(packet)) + packet)
        self.is_broken = True
        while rest:
            _, ready, _ = select.select([], [self._writing], [], _LOOK_SECONDS)
            if not ready:
                self._waiting.waits()
                continue
            try:
                rest = rest[os.write(self._writing, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone(self._ended() or error.strerror) from None
        self.is_broken = False

    def _packet(self) -> tuple[int, bytes]:
        self.is_broken = True
        length = struct.unpack(">I", self._bytes(4))[0]
        if not 1 <= length <= MOST:
            raise Broken(f"a packet of {length} bytes")
        body = self._bytes(length)
        self.is_broken = False
        self._waiting.answered()
        return body[0], body[1:]

    def _bytes(self, count: int) -> bytes:
        while len(self._buffer) < count:
            ready, _, _ = select.select([self._reading], [], [], _LOOK_SECONDS)
            if not ready:
                self._waiting.waits()
                continue
            data = os.read(self._reading, MOST)
            if not data:
                raise Gone(self._ended() or "the connection has ended")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class Reader:
    """The fields of a packet, one after another. Raises Broken if it is too short."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def left(self) -> int:
        """Return how many bytes follow."""
        return len(self._body) - self._at

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if self.left() < count:
            raise Broken("a packet that is too short")
        self._at += count
        return self._body[self._at - count : self._at]

    def number(self) -> int:
        """Return the next number of 32 bits."""
        return int(struct.unpack(">I", self.take(4))[0])

    def data(self) -> bytes:
        """Return the next string, as bytes."""
        return self.take(self.number())

    def text(self) -> str:
        """Return the next string, as text."""
        return self.data().decode(errors="surrogateescape")

    def attributes(self) -> Attributes:
        """Return the next attributes (section 5)."""
        flags = self.number()
        size = struct.unpack(">Q", self.take(8))[0] if flags & _SIZE else 0
        if flags & _OWNERS:
            self.take(8)
        mode = self.number() if flags & _PERMISSIONS else 0
        modified = struct.unpack(">II", self.take(8))[1] if flags & _TIMES else 0
        if flags & _MORE:
            for _ in range(self.number()):
                self.data(), self.data()
        return Attributes(size=size, mode=mode, modified=modified)


def handle_of(answer: tuple[int, Reader]) -> bytes:
    """Return the handle that a server has answered with, as a field."""
    kind, rest = answer
    if kind != HANDLE:
        raise Broken(f"answer {kind} instead of a handle")
    return string(rest.data())


def room_of(rest: Reader) -> int | None:
    """Return how many bytes are left, by an answer to statvfs@openssh.com; None if it knows of no blocks at all.

    It has f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, … (OpenSSH's PROTOCOL, 4.4).
    """
    _, fragment, blocks, _, left = struct.unpack(">5Q", rest.take(40))
    return int(left * fragment) if blocks else None


def string(text: str | bytes) -> bytes:
    """Return a string as a field."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return struct.pack(">I", len(data)) + data


def numbers(*values: int) -> bytes:
    """Return numbers of 32 bits as fields."""
    return struct.pack(f">{len(values)}I", *values)


def offset(value: int) -> bytes:
    """Return a place in a file as a field of 64 bits."""
    return struct.pack(">Q", value)


def permissions(mode: int) -> bytes:
    """Return attributes that have permissions and nothing else."""
    return numbers(_PERMISSIONS, mode)


def _check(status: Reader) -> None:
    number = status.number()
    if number in (_OK, _EOF):
        return
    said = printable(status.text()) if status.left() else ""
    known = {_NO_SUCH_FILE: errno.ENOENT, _DENIED: errno.EACCES, _UNSUPPORTED: errno.EOPNOTSUPP}
    if number in known:
        raise OSError(known[number], os.strerror(known[number]))
    raise OSError(errno.EIO, f"the server says: {said or number}")
