"""Shares by SFTP: a client of its own, over OpenSSH's ssh. No shell on the server is needed.

What goes through it is under way many pieces at a time. A connection that ends is made anew, and what the server has
not confirmed is sent again.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.session import Session
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares import sftp_read
from lvpack_agent.shares import sftp_wire as wire
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.remote_file import Look
from lvpack_agent.shares.sftp_upload import Upload
from lvpack_agent.shares.sftp_wire import CHUNK, Wire, permissions, string
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.ssh import Ssh
from lvpack_agent.shares.stored import Sink
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Gone, Waiting, done_once

T = TypeVar("T")

BLOCK = CHUNK * 32
RETRY_SECONDS = 2.0
_POSIX_RENAME, _STATVFS = "posix-rename@openssh.com", "statvfs@openssh.com"


@contextmanager
def opened(url: ShareUrl, folder: Path, access: Access, session: Session) -> Iterator[RemoteShare]:
    """Yield a share; folder is for what is about to be written.

    Raises Failed if it is not there, Refused as Ssh does.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    waiting = Waiting(str(url), access.patience, session)
    with Ssh(url, access, folder.with_name(f"{folder.name}{places.KEYS}"), waiting) as ssh:
        client = Sftp(ssh.connect, ssh.end, waiting, base_of(url.path))
        client.check_folder(str(url))
        yield RemoteShare(name=str(url), folder=folder, no_journal=SCHEMES[url.scheme].inplace, remote=client)


def base_of(path: str) -> str:
    """Return the folder that a URL's path names: below the user's own with "/~/", else from the server's root on."""
    path = path.rstrip("/") or "/"
    return path.removeprefix("/~/") if path.startswith("/~/") else "." if path == "/~" else path


class Sftp:
    """A client of a server (Remote), for one thread at a time. base is the share's folder there."""

    def __init__(self, connect: Callable[[], Wire], end: Callable[[], None], waiting: Waiting, base: str) -> None:
        self._connect, self._end, self._waiting, self._base = connect, end, waiting, base
        self._wire: Wire | None = None

    def check_folder(self, name: str) -> None:
        """Raise Failed unless the share's folder is there."""
        try:
            _, found = self._do(lambda w: w.ask(wire.STAT, self.path("")))
            cause = "" if stat.S_ISDIR(found.attributes().mode) else "it is no folder"
        except OSError as error:
            cause = error.strerror or "it does not say why"
        if cause:
            raise Failed(
                f"cannot use share '{name}': {cause}",
                hint="check the path of the URL: /PATH is below the server's root, or that of its chroot; /~/PATH "
                "below the user's folder",
            )

    def connected(self) -> Wire:
        """Return the connection, a new one if need be. Raises Gone if there can be none now."""
        if self._wire and self._wire.is_broken:
            self._wire = None
        if not self._wire:
            self._wire = self._connect()
        return self._wire

    def asks(self) -> None:
        """Note that something is asked."""
        self._waiting.asks()

    def lost(self) -> None:
        """Forget a connection that has ended, and wait a little. Raises Failed if the server is given up."""
        self._wire = None
        self._end()
        self._waiting.lost()
        self._waiting.pause(RETRY_SECONDS)

    def _do(self, action: Callable[[Wire], T]) -> T:
        self._waiting.asks()
        while True:
            try:
                return action(self.connected())
            except Gone:
                self.lost()

    def path(self, name: str) -> bytes:
        """Return where a name is at the server, as a field."""
        return string(f"{self._base.rstrip('/')}/{name}" if name else self._base)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return self._do(lambda w: sftp_read.names(w, self.path(folder)))

    def look(self, name: str) -> Look:
        """Look at what has a name. Raises FileNotFoundError."""
        _, rest = self._do(lambda w: w.ask(wire.LSTAT, self.path(name)))
        found = rest.attributes()
        return Look(size=found.size, mode=found.mode, modified=found.modified)

    def read(self, name: str, at: int, count: int) -> bytes:
        """Return bytes of a file from byte at on, fewer at its end."""
        return b"".join(self._pieces(name, at, at + count))

    def blocks(self, name: str) -> Generator[bytes]:
        """Yield a file block by block to its end."""
        block = bytearray()
        for data in self._pieces(name, 0, self.look(name).size):
            block += data
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)

    def _pieces(self, name: str, at: int, end: int) -> Generator[bytes]:
        """Yield a range of a file as it comes; a connection that ends is gone on with where it was."""
        self._waiting.asks()
        while at < end:
            try:
                for data in sftp_read.pieces(self.connected(), self.path(name), at, end, self._waiting.asks):
                    at += len(data)
                    yield data
                return
            except Gone:
                self.lost()

    def room(self) -> int | None:
        """Return how many bytes are left at the server; None if it does not tell. It is asked once."""
        self._waiting.asks()
        try:
            w = self.connected()
            if _STATVFS not in w.extensions:
                return None
            return wire.room_of(w.ask(wire.EXTENDED, string(_STATVFS), self.path(""))[1])
        except Gone:
            self.lost()
            return None

    @contextmanager
    def created(self, name: str, most: int = 0) -> Iterator[Sink]:
        """Yield what writes a new file, for its owner only. Raises FileExistsError."""
        upload = Upload(self, self.path(name), name)
        yield upload.write
        upload.finish()

    def make_folder(self, name: str) -> None:
        """Make a folder for its owner only. Raises FileExistsError."""
        # One that is empty, after an answer was lost, is the one that was asked for.
        self.new(name, lambda w: w.ask(wire.MKDIR, self.path(name), permissions(0o700)), lambda: not self.names(name))

    def rename(self, old: str, new: str) -> None:
        """Give a file or a folder a name that nothing has. Raises FileExistsError."""
        # Version 3 has no rename that replaces (section 6.5).
        self.new(new, lambda w: w.ask(wire.RENAME, self.path(old), self.path(new)), lambda: self._is_moved(old, new))

    def _is_there(self, name: str) -> bool:
        try:
            self.look(name)
        except FileNotFoundError:
            return False
        return True

    def _is_moved(self, old: str, new: str) -> bool:
        return self._is_there(new) and not self._is_there(old)

    def _at_last(self, action: Callable[[Wire], object], is_done: Callable[[], bool]) -> None:
        done_once(lambda: self._do(action), lambda: self._waiting.losses, is_done)

    def new(self, name: str, action: Callable[[Wire], object], is_done: Callable[[], bool]) -> None:
        """Make something that has a name then. Raises FileExistsError if something has it.

        is_done: whether what has it was made by this, where its answer was lost.
        """
        try:
            self._at_last(action, is_done)
        except OSError as error:
            # "Failure" is all that version 3 has for a name that is taken.
            with suppress(FileNotFoundError):
                self.look(name)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
            raise

    def replace(self, old: str, new: str) -> None:
        """Give a file a name, also if another file has it."""

        def action(w: Wire) -> None:
            if _POSIX_RENAME in w.extensions:
                w.ask(wire.EXTENDED, string(_POSIX_RENAME), self.path(old), self.path(new))
                return
            with suppress(FileNotFoundError):
                w.ask(wire.REMOVE, self.path(new))
            w.ask(wire.RENAME, self.path(old), self.path(new))

        self._at_last(action, lambda: self._is_moved(old, new))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._at_last(lambda w: w.ask(wire.REMOVE, self.path(name)), lambda: not self._is_there(name))

    def remove_all(self, name: str) -> None:
        """Remove a folder, with all that is in it. No link is followed."""
        for below in self.names(name):
            path = f"{name}/{below}"
            if stat.S_ISDIR(self.look(path).mode):
                self.remove_all(path)
            else:
                self.remove(path)
        self._at_last(lambda w: w.ask(wire.RMDIR, self.path(name)), lambda: not self._is_there(name))
