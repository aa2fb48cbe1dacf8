"""A share that is no folder of this machine: a server is asked for each thing, by a client that a scheme has (Remote).

Small files of a set are gathered in a folder in memory, and sent when the set is complete; images go to the server as
they are made.
"""

import errno
import secrets
import shutil
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lvpack_agent import guarded
from lvpack_agent.errors import Failed
from lvpack_agent.guarded import Odd
from lvpack_agent.pipes import BLOCK
from lvpack_agent.shares.share import PROBE, Share
from lvpack_agent.shares.stored import Sink, Source, Stored

# Small files are made by lvpack itself, and as large as their limits let them be.
_SENT_AT_ONCE = BLOCK
# What the folder of a set that is not complete ends with.
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a server says of a name: bytes, type and permissions as in stat(2), and when it was changed last."""

    size: int
    mode: int
    modified: float


class Remote(Protocol):
    """What a scheme can do at its server. Names are paths below the share's own folder, with "/" between.

    What goes wrong is an OSError whose strerror says it; each waits for a server that is away, and raises Failed if it
    is given up.
    """

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, "" being the share's own."""
        ...

    def look(self, name: str) -> Look:
        """Look at what has a name; a link is one. Raises FileNotFoundError."""
        ...

    def read(self, name: str, at: int, count: int) -> bytes:
        """Return bytes of a file from byte at on, fewer at its end."""
        ...

    def blocks(self, name: str) -> Generator[bytes]:
        """Yield a file block by block to its end."""
        ...

    def room(self) -> int | None:
        """Return how many bytes the server has room for, as it says; None if it does not. It is asked once only."""
        ...

    def created(self, name: str, most: int = 0) -> AbstractContextManager[Sink]:
        """Yield what writes a new file, for its owner only; it is complete at the end. Raises FileExistsError.

        most: how many bytes it can have, 0 if that is not known.
        """
        ...

    def make_folder(self, name: str) -> None:
        """Make a folder for its owner only. Raises FileExistsError."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file or a folder a name that nothing has. Raises FileExistsError."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Give a file a name, also if another file has it."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...

    def remove_all(self, name: str) -> None:
        """Remove a folder, with all that is in it."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a server (Stored); none above limit bytes is read."""

    remote: Remote
    path: str
    limit: int | None = None

    @property
    def name(self) -> str:
        """Its last name."""
        return self.path.rpartition("/")[2]

    def size(self) -> int:
        """Return how many bytes it has. Raises FileNotFoundError, Odd if it is no file, OSError."""
        found = self.remote.look(self.path)
        if not stat.S_ISREG(found.mode):
            raise Odd(errno.EINVAL, f"it is {guarded.kind(found.mode)}, not a file", self.path)
        if self.limit is not None and found.size > self.limit:
            raise guarded.too_large(Path(self.path), found.size, self.limit)
        return found.size

    def read(self, at: int, count: int) -> bytes:
        """Return count bytes from byte at on, fewer at its end. Raises OSError."""
        return self.remote.read(self.path, at, min(count, max(0, self.size() - at)))

    def blocks(self) -> Generator[bytes]:
        """Yield it block by block. Raises Failed."""
        try:
            left = self.size()
            for data in self.remote.blocks(self.path):
                left -= len(data)
                if self.limit is not None and left < 0:
                    raise guarded.too_large(Path(self.path), self.size(), self.limit)
                yield data
        except OSError as error:
            raise Failed(f"cannot read '{self.name}': {error.strerror}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteShare(Share):
    """A share at a server. folder is one in memory, empty at first, for what is about to be written.

    renames: the server can give a set another name; else it is under its own from the beginning.
    """

    remote: Remote = field(repr=False)
    renames: bool = True

    @property
    def is_remote(self) -> bool:
        """True: no journal can be there."""
        return True

    def _source(self) -> Source:
        def found(path: Path, limit: int | None = None, top: Path | None = None) -> Stored:
            return RemoteFile(self.remote, self._name(path), limit)

        return found

    def names(self) -> list[str]:
        """Return the names in the share's folder, in order."""
        return sorted(self.remote.names(""))

    def names_in(self, folder: Path) -> list[str]:
        """Return the names in a folder below the share's own, in order."""
        return sorted(self.remote.names(self._name(folder)))

    def text(self, name: str, limit: int) -> bytes:
        """Return what a small file holds that a person put there. No link is followed."""
        return RemoteFile(self.remote, name, limit).read(0, limit + 1)

    def taken(self, name: str) -> bool:
        """Return whether anything has that name."""
        try:
            self.remote.look(name)
        except FileNotFoundError:
            return False
        return True

    def modified(self, path: Path) -> float:
        """Return when a file was changed last, in seconds since 1970 by the server's clock."""
        return self.remote.look(self._name(path)).modified

    def now(self) -> float:
        """Return the time by the server's clock, in seconds since 1970."""
        probe = f"{PROBE}{secrets.token_hex(8)}"
        try:
            with self.remote.created(probe) as sink:
                sink(b"\n")
            return self.remote.look(probe).modified
        finally:
            with suppress(OSError):
                self.remote.remove(probe)

    def room(self) -> int | None:
        """Return how many bytes the server has room for, as it says; None if it does not say."""
        try:
            return self.remote.room()
        except OSError:
            return None

    def begin(self, name: str, mode: int) -> Path:
        """Make a folder for a set at the server and in memory; return the latter. Raises FileExistsError."""
        self.remote.make_folder(self._set(name))
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        return path

    def _created(self, path: Path, most: int) -> AbstractContextManager[Sink]:
        return self.remote.created(self._name(path), most)

    def publish(self, folder: Path, last: str) -> None:
        """Send all small files of a set, the last one last, and forget them here."""
        paths = sorted(folder.rglob("*"), key=lambda path: (path.name == last, path))
        for path in paths:
            if path.is_dir():
                self.remote.make_folder(self._name(path))
            else:
                self.write(path, path.read_bytes(), 0o600)
        shutil.rmtree(folder)

    def commit(self, old: str, new: str) -> None:
        """Give a set its name. What has that name already stays, and is an error."""
        self.remote.rename(self._set(old), new)

    def discard(self, name: str) -> None:
        """Remove the folder of a set, with all that is in it. What cannot be removed stays."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        with suppress(OSError, Failed):
            self.remote.remove_all(self._set(name))

    def write(self, path: Path, data: bytes, mode: int) -> None:
        """Write a small file that is new, for its owner only."""
        with self.remote.created(self._name(path)) as sink:
            for at in range(0, len(data), _SENT_AT_ONCE):
                sink(data[at : at + _SENT_AT_ONCE])

    def replace(self, old: Path, new: Path) -> None:
        """Give a file a name, also if another one has it, which goes."""
        self.remote.replace(self._name(old), self._name(new))

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self.remote.remove(self._name(path))

    def _name(self, path: Path) -> str:
        first, slash, rest = path.relative_to(self.folder).as_posix().partition("/")
        return f"{self._set(first)}{slash}{rest}"

    def _set(self, name: str) -> str:
        return name if self.renames else name.removesuffix(PARTIAL)
