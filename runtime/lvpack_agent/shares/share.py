"""A share as a run works with it: what can be done there, and what it cannot do.

This is the whole interface: nothing outside of shares/ knows schemes. Share is a folder that the kernel has mounted;
RemoteShare (remote.py) asks a server by itself, and is told by its type: it has no folder for journals and stores.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from lvpack_agent import guarded
from lvpack_agent.devices.lsblk import AUTO
from lvpack_agent.errors import Refused
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares.rate import Rate, Slowed
from lvpack_agent.shares.stored import LocalFile, Sink, Source, Stored, new_file
from lvpack_agent.sizes import human

PROBE = "claim-clock-"  # the file by whose time a server tells its own


class Secrets(Protocol):
    """Where a share finds its passwords and keys."""

    def find(self, name: str) -> bytes | None:
        """Return the secret with a fixed name; None if there is none."""
        ...

    def need(self, name: str, what: str) -> bytes:
        """Return the secret with a fixed name; what says what it is for. Raises Refused if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a share is used: its options and secrets, and for how many seconds a server may be silent.

    disks: the value of lvpack.disk; a share is on none of them. rate: bytes of images that pass in a second, 0: any.
    read_only: nothing is written. set_time sets this machine's clock, to seconds since 1970.
    """

    options: ShareOptions
    secrets: Secrets
    patience: float
    read_only: bool
    disks: tuple[str, ...] = AUTO
    rate: int = 0
    set_time: Callable[[float], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a scheme has mounted: how, in words, and how to let go of it.

    give_up lets every call to it fail from now on, those that wait now, too; it never waits itself. close ends what was
    opened for that. is_remote: a server is asked, which may be silent. device is the block device of this machine that
    has the share, "" if none has. largest is how many bytes a file can have, None if more than any image. no_journal
    says why the journal of in-place mode, and its stores, cannot be there; "" if they can. passing: errors, as numbers,
    that come of a server that is away, where not the kernel waits for it.
    """

    how: str
    give_up: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    is_remote: bool = True
    device: str = ""
    largest: int | None = None
    no_journal: str = ""
    passing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mounted share: its URL for people, the folder where it is, and what it cannot do (see Mount).

    again tells which errors pass: what is asked is asked again then. rate: how fast images pass, in both directions;
    sends_slowly: what writes there keeps to it by itself, where it sends more at a time than it was given.

    Paths are below folder. What goes wrong is an OSError whose strerror says it, unless a method says otherwise.
    """

    name: str
    folder: Path
    device: str = ""
    largest: int | None = None
    no_journal: str = ""
    again: Callable[[OSError], bool] = guarded.passes
    rate: Rate | None = field(default=None, repr=False)
    sends_slowly: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether folder has only what is about to be written, and no journal can be there."""
        return False

    @property
    def source(self) -> Source:
        """What finds the files of sets."""
        found, rate = self._source(), self.rate
        if rate is None:
            return found

        def slowed(path: Path, limit: int | None = None, top: Path | None = None) -> Stored:
            return Slowed(found(path, limit, top), rate)

        return slowed

    def _source(self) -> Source:
        return partial(LocalFile, again=self.again)

    def names(self) -> list[str]:
        """Return the names in the share's folder, in order."""
        return self.names_in(self.folder)

    def names_in(self, folder: Path) -> list[str]:
        """Return the names in a folder below the share's own, in order."""
        return sorted(path.name for path in folder.iterdir())

    def taken(self, name: str) -> bool:
        """Return whether anything has that name, be it a link that leads nowhere."""
        return os.path.lexists(self.folder / name)

    def text(self, name: str, limit: int) -> bytes:
        """Return what a small file holds that a person put there; links of many machines may lead to one file."""
        return guarded.read_bytes(self.folder / name, limit, follow=True)

    def modified(self, path: Path) -> float:
        """Return when a file was changed last, in seconds since 1970 by the server's clock."""
        return path.lstat().st_mtime

    def now(self) -> float:
        """Return the time by the server's clock, in seconds since 1970."""
        return server_time(self.folder)

    def room(self) -> int | None:
        """Return how many bytes the share has room for, as it says itself; None if it does not say."""
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return None
        # On a disk of this machine root may fill what is kept back for it, too.
        blocks = found.f_bfree if self.device else found.f_bavail
        return blocks * found.f_frsize if found.f_blocks else None

    def begin(self, name: str, mode: int) -> Path:
        """Make a folder for a set, which nobody else can make then, and return it.

        Small files are written to what is returned, and are at the server after publish(). Raises FileExistsError.
        """
        path = self.folder / name
        guarded.make_folder(path, mode)
        return path

    @contextmanager
    def created(self, path: Path, most: int = 0) -> Iterator[Sink]:
        """Yield what writes a new file of a set; it is on the server's disk at the end. Raises FileExistsError.

        most: how many bytes it can have, 0 if that is not known.
        """
        with self._created(path, most) as sink:
            yield self.rate.through(sink) if self.rate and not self.sends_slowly else sink

    def _created(self, path: Path, most: int) -> AbstractContextManager[Sink]:
        return new_file(path, self.again, at_once=self.rate is not None)

    def publish(self, folder: Path, last: str) -> None:
        """See to it that all small files of a set are at the server, the last one last."""

    def commit(self, old: str, new: str) -> None:
        """Give a set its name. What has that name already stays, and is an error."""
        if self.taken(new):
            raise FileExistsError(17, "File exists", new)
        guarded.patiently(lambda: (self.folder / old).rename(self.folder / new), self.again)

    def discard(self, name: str) -> None:
        """Remove the folder of a set, with all that is in it. What cannot be removed stays."""
        _let_go(self.folder / name)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def write(self, path: Path, data: bytes, mode: int) -> None:
        """Write a small file that is new."""
        guarded.write(path, data, mode=mode)

    def replace(self, old: Path, new: Path) -> None:
        """Give a file a name, also if another one has it, which goes."""
        old.rename(new)
        fd = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def refuse_journal(self) -> None:
        """Raise Refused if the journal of an in-place run cannot be on this share."""
        if self.no_journal:
            raise Refused(
                f"cannot shrink in place with share '{self.name}': {self.no_journal}",
                hint="the journal of in-place mode needs a share by nfs://, or by file:// on a disk with ext or XFS",
            )

    def refuse_store(self) -> None:
        """Raise Refused if a copy-on-write store cannot be a file on this share."""
        if self.no_journal:
            raise Refused(
                f"cannot keep the copy-on-write store on share '{self.name}': {self.no_journal}",
                hint="leave lvpack.scratch=share out (the store is in memory then), or name an empty disk or partition",
            )

    def refuse_large(self, name: str, most: int) -> None:
        """Raise Refused if a file that may have as many bytes as most does not fit into a file of this share."""
        if self.largest is not None and most > self.largest:
            raise Refused(
                f"cannot write {name} to share '{self.name}': it may take {human(most)}, and a file there has at most "
                f"{human(self.largest)}",
                hint="make another filesystem on that disk, such as exFAT or ext4, or take another share",
            )


def server_time(folder: Path) -> float:
    """Return the time by the clock of the server, in seconds since 1970; folder is on its share.

    File times are the server's, and the clock of this machine may differ. Raises OSError if the share takes no file.
    """
    probe = folder / f"{PROBE}{secrets.token_hex(8)}"
    fd = guarded.create(probe, mode=0o600)
    try:
        os.write(fd, b"\n")
        os.fsync(fd)
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        probe.unlink(missing_ok=True)


def _let_go(folder: Path) -> None:
    """Close what is still open below a folder, when all that writes there has ended.

    A signal that comes while a file is being made is heard as open() returns, and its descriptor is lost. NFS keeps the
    name of a file that is open, and the folder with it.
    """
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if link.readlink().is_relative_to(folder):
                os.close(int(link.name))
