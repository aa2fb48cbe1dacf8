"""A file at a server, and what is asked of a server (Remote): the client of a scheme can do it.

Tested with real servers: tests/agent/shares/test_sftp.py, test_http.py, test_s3.py.
"""

import errno
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lvpack_agent import guarded
from lvpack_agent.errors import Failed
from lvpack_agent.guarded import Odd
from lvpack_agent.shares.stored import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a server says of a name: bytes, type and permissions as in stat(2), and when it was changed last.

    modified: in seconds since 1970; None if the server does not say.
    """

    size: int
    mode: int
    modified: float | None

    def changed(self) -> float:
        """Return when it was changed last. Raises OSError if the server does not say."""
        if self.modified is None:
            raise OSError(errno.ENODATA, "the server does not say when it was changed")
        return self.modified


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
        promised = min(count, max(0, self.size() - at))
        data = self.remote.read(self.path, at, promised)
        if len(data) < promised:
            raise OSError(errno.EIO, f"the server gives {len(data):,} bytes of it, where it has {promised:,}")
        return data

    def blocks(self) -> Generator[bytes]:
        """Yield it block by block. Raises Failed."""
        try:
            left = self.size()
            with closing(self.remote.blocks(self.path)) as blocks:
                for data in blocks:
                    left -= len(data)
                    if self.limit is not None and left < 0:
                        raise guarded.too_large(Path(self.path), self.size(), self.limit)
                    yield data
        except OSError as error:
            raise Failed(f"cannot read '{self.name}': {error.strerror}") from error
