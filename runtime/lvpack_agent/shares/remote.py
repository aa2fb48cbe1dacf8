"""A share that is no folder of this machine: a server is asked for each thing, by a client that a scheme has (Remote).

Small files of a set are gathered in a folder in memory, and sent when the set is complete; images go to the server as
they are made.
"""

import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent import resources
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.pipes import BLOCK
from lvpack_agent.shares.remote_file import Remote, RemoteFile
from lvpack_agent.shares.share import PROBE, Share
from lvpack_agent.shares.stored import Sink, Source, Stored
from lvpack_agent.sizes import MIB, human

# Small files are made by lvpack itself, and as large as their limits let them be.
_SENT_AT_ONCE = BLOCK
# So much memory is there in every machine that packs.
_SMALL = 16 * MIB
# What the folder of a set that is not complete ends with.
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteShare(Share):
    """A share at a server. folder is one in memory, empty at first, for what is about to be written.

    renames: the server can give a set another name; else it is under its own from the beginning. keeps returns how much
    memory a file of at most so many bytes takes while it is sent.
    """

    remote: Remote = field(repr=False)
    renames: bool = True
    keeps: Callable[[int], int] = lambda _: 0

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
        except OSError as error:
            raise Failed(
                f"cannot read share '{self.name}': {error.strerror}",
                hint="check that the server lets us in, and its log",
            ) from error
        return True

    def modified(self, path: Path) -> float:
        """Return when a file was changed last, in seconds since 1970 by the server's clock."""
        return self.remote.look(self._name(path)).changed()

    def now(self) -> float:
        """Return the time by the server's clock, in seconds since 1970."""
        probe = f"{PROBE}{secrets.token_hex(8)}"
        try:
            with self.remote.created(probe) as sink:
                sink(b"\n")
            return self.remote.look(probe).changed()
        finally:
            with suppress(OSError, Failed, Refused):
                self.remote.remove(probe)

    def room(self) -> int | None:
        """Return how many bytes the server has room for, as it says; None if it does not say."""
        try:
            return self.remote.room()
        except (OSError, Failed, Refused):  # what is wrong is said when something is to be written
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
        with suppress(OSError, Failed, Refused):
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

    def refuse_large(self, name: str, most: int) -> None:
        """Raise Refused if a file that may have as many bytes as most cannot be sent with the memory that there is."""
        Share.refuse_large(self, name, most)
        kept, others = self.keeps(most), resources.worker_count() * resources.WORKER_MEMORY
        if kept > _SMALL and kept + others > (free := resources.available_memory()):
            raise Refused(
                f"cannot write {name} to share '{self.name}': it may take {human(most)}, and a part of that, "
                f"{human(kept)}, is in memory until it is sent: with what compresses {human(kept + others)}, and there "
                f"is {human(free)}",
                hint="give the machine more memory, or let an upload have more parts (lvpack.share=parts=N, and the "
                "server's own limit)",
            )

    def _name(self, path: Path) -> str:
        first, slash, rest = path.relative_to(self.folder).as_posix().partition("/")
        return f"{self._set(first)}{slash}{rest}"

    def _set(self, name: str) -> str:
        return name if self.renames else name.removesuffix(PARTIAL)
