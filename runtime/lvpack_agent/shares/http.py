"""Shares by HTTP: a set is read by GET and Range, and written where the server has PUT and WebDAV's MKCOL and MOVE.

RFC 9110 and RFC 4918; nginx's and Apache's DAV modules were tried.
"""

import errno
import http.client
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lvpack_agent.pipes import BLOCK
from lvpack_agent.printable import printable
from lvpack_agent.session import Session
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares import http_lists, http_words, proxy, tls
from lvpack_agent.shares.http_upload import Upload
from lvpack_agent.shares.http_wire import Http
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.remote_file import Look
from lvpack_agent.shares.server_clock import MachineClock
from lvpack_agent.shares.share import Access
from lvpack_agent.shares.stored import Sink
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.shares.waiting import Gone, Waiting, done_once
from lvpack_agent.sizes import MIB

T = TypeVar("T")

RETRY_SECONDS = 2.0
# A list of a folder: some 500 bytes for a name.
LIST_MOST = 16 * MIB
_FOLDER, _FILE = stat.S_IFDIR | 0o700, stat.S_IFREG | 0o600


@contextmanager
def opened(url: ShareUrl, folder: Path, access: Access, session: Session) -> Iterator[RemoteShare]:
    """Yield a share; folder is for what is about to be written. Raises Refused if a secret is not fit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    waiting = Waiting(str(url), access.patience, session)
    context = tls.context(access.secrets, folder) if url.scheme == "https" else None
    clock = MachineClock(access.set_time, session.warn)
    server = Http(url, access.secrets, context, proxy.named_by(access), clock=clock)
    client = Dav(server, waiting)
    try:
        client.greet()
        yield RemoteShare(name=str(url), folder=folder, no_journal=SCHEMES[url.scheme].inplace, remote=client)
    finally:
        server.drop()


class Dav:
    """A client of a server (Remote), for one thread at a time."""

    def __init__(self, server: Http, waiting: Waiting) -> None:
        self._server, self._waiting = server, waiting
        self._may_write = False
        # While a long request goes to it, a server is not silent.
        server.sent = waiting.asks

    def greet(self) -> None:
        """See that the server is there, and lets us in, before anything else is done."""
        with suppress(OSError):  # what it does not give is named when it is needed
            self._do(lambda: self._server.ask("HEAD", self._server.path("", folder=True)))

    def _do(self, action: Callable[[], T]) -> T:
        self._waiting.asks()
        while True:
            try:
                found = action()
            except Gone:
                self._lost()
            else:
                self._waiting.answered()
                return found

    def _at_last(self, action: Callable[[], object], is_done: Callable[[], bool]) -> None:
        """Do what can be done once only. Where an answer was lost, and it is done, a later one counts for nothing."""
        done_once(lambda: self._do(action), lambda: (self._waiting.losses, self._server.repeats), is_done)

    def _is_there(self, name: str) -> bool:
        try:
            self.look(name)
        except FileNotFoundError:
            return False
        return True

    def _lost(self) -> None:
        self._server.drop()
        self._waiting.lost()
        self._waiting.pause(RETRY_SECONDS)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder. Raises OSError if the server has no lists (PROPFIND)."""
        path = self._server.path(folder, folder=True)
        answer = self._do(
            lambda: self._server.ask("PROPFIND", path, http_lists.headers(1), http_lists.NAMES, LIST_MOST)
        )
        return http_lists.names(answer.body, path)

    def look(self, name: str) -> Look:
        """Look at what has a name; what is there and is no file counts as a folder. Raises FileNotFoundError."""
        path = self._server.path(name)
        answer = self._do(lambda: self._server.ask("HEAD", path))
        if answer.status >= 300:
            to = self._server.led(path, answer.headers.get("location", ""))
            # The path of a folder ends with a slash, and servers lead there.
            if to != f"{path}/":
                raise OSError(errno.EREMOTE, f"the server leads to {printable(to)}: name that in the URL")
            return Look(size=0, mode=_FOLDER, modified=0.0)
        changed, length = answer.headers.get("last-modified", ""), answer.headers.get("content-length", "")
        # Apache leaves the length of an empty file out.
        if (size := http_words.count(length)) is None and (not changed or "transfer-encoding" in answer.headers):
            return Look(size=0, mode=_FOLDER, modified=0.0)
        return Look(size=size or 0, mode=_FILE, modified=http_words.seconds(changed))

    def read(self, name: str, at: int, count: int) -> bytes:
        """Return bytes of a file from byte at on, fewer at its end."""
        if not count:
            return b""
        headers = {"Range": f"bytes={at}-{at + count - 1}"}
        answer = self._do(lambda: self._server.ask("GET", self._server.path(name), headers, most=count))
        if at and answer.status != 206:
            raise OSError(errno.EOPNOTSUPP, "the server gives no part of a file (Range)")
        return answer.body

    def blocks(self, name: str) -> Generator[bytes]:
        """Yield a file block by block to its end; a connection that ends is gone on with where it was."""
        at, first = 0, self.look(name)
        end = first.size
        self._waiting.asks()
        try:
            while at < end:
                try:
                    response = self._server.stream(self._server.path(name), {"Range": f"bytes={at}-"} if at else {})
                    # Not by If-Range: a file that was written a moment ago has no validator that counts (RFC 9110,
                    # 8.8.3).
                    if at and (response.status, self.look_again(response)) != (206, (end, first.modified)):
                        raise OSError(errno.EIO, f"it cannot be gone on with at byte {at:,}: it is another file by now")
                    while at < end:
                        data = response.read(min(BLOCK, end - at))
                        if not data:
                            raise Gone("the connection has ended")
                        self._waiting.answered()
                        at += len(data)
                        yield data
                        self._waiting.asks()
                except (TimeoutError, ConnectionError, http.client.HTTPException, Gone):
                    self._lost()
        finally:  # also if somebody else ends this, in the middle of an answer
            self._server.drop()

    @staticmethod
    def look_again(response: http.client.HTTPResponse) -> tuple[int | None, float | None]:
        """Return the size of the file that a part is of, and when it was changed last (RFC 9110, 14.4)."""
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
        return http_words.count(size), http_words.seconds(response.headers.get("Last-Modified", ""))

    def room(self) -> int | None:
        """Return how many bytes are left at the server; None if it does not tell (RFC 4331). It is asked once."""
        path = self._server.path("", folder=True)
        try:
            answer = self._server.ask("PROPFIND", path, http_lists.headers(0), http_lists.ROOM, LIST_MOST)
        except Gone:
            return None
        return http_lists.room(answer.body)

    @contextmanager
    def created(self, name: str, most: int = 0) -> Iterator[Sink]:
        """Yield what writes a new file; it is complete at the end. Raises FileExistsError."""
        self._introduce()
        upload = self._do(lambda: Upload(self._server, self._server.path(name), self._waiting))
        try:
            yield upload.write
            upload.finish()
        finally:
            upload.close()
        if (found := self.look(name).size) != upload.size:
            raise OSError(errno.EIO, f"it has {found:,} bytes at the server, and {upload.size:,} were written")

    def _introduce(self) -> None:
        """Say who we are before an upload, if writing wants it, and reading did not: an upload is not begun anew."""
        if not self._may_write and not self._server.is_known:
            nobodys = self._server.path(f".lvpack-{secrets.token_hex(8)}")
            with suppress(OSError):
                self._do(lambda: self._server.ask("DELETE", nobodys))
        self._may_write = True

    def make_folder(self, name: str) -> None:
        """Make a folder. Raises FileExistsError."""
        path = self._server.path(name, folder=True)
        try:
            # One that is empty, after an answer was lost, is the one that was asked for.
            self._at_last(lambda: self._server.ask("MKCOL", path), lambda: not self.names(name))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            # 405 is for what is there, and for a server that has no MKCOL (RFC 4918, 9.3.1).
            with suppress(FileNotFoundError):
                self.look(name)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
            raise OSError(errno.EOPNOTSUPP, "the server has no WebDAV (MKCOL): it can be restored from only") from None

    def rename(self, old: str, new: str) -> None:
        """Give a folder a name that nothing has. Raises FileExistsError."""
        with suppress(FileNotFoundError):
            self.look(new)  # nginx has MOVE without Overwrite
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        self._move(old, new, "F", folder=True)

    def replace(self, old: str, new: str) -> None:
        """Give a file a name, also if another file has it."""
        self._move(old, new, "T")

    def _move(self, old: str, new: str, overwrite: str, *, folder: bool = False) -> None:
        path = self._server.path(old, folder=folder)
        to = self._server.absolute(self._server.path(new, folder=folder))
        self._at_last(
            lambda: self._server.ask("MOVE", path, {"Destination": to, "Overwrite": overwrite}),
            lambda: self._is_there(new) and not self._is_there(old),
        )

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._at_last(lambda: self._server.ask("DELETE", self._server.path(name)), lambda: not self._is_there(name))

    def remove_all(self, name: str) -> None:
        """Remove a folder with all that is in it (RFC 4918, 9.6.1)."""
        path = self._server.path(name, folder=True)
        self._at_last(lambda: self._server.ask("DELETE", path), lambda: not self._is_there(name))
