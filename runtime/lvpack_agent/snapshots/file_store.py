"""A copy-on-write store in a file on the share."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.errors import Disagreement, Failed
from lvpack_agent.sizes import MIB
from lvpack_agent.snapshots.stores import Store, attached, make_sparse, size_for
from lvpack_agent.undo import Undo


class FileStore:
    """A Keeper of stores in sparse files on a share: their names begin with prefix and end with the token."""

    def __init__(self, share: Path, prefix: str) -> None:
        self._share, self._prefix = share, prefix
        self.place = "a file on the share"

    @classmethod
    def anew(cls, share: Path) -> "FileStore":
        """Return one with a prefix that nobody else uses, for a run that does not go on after a power loss."""
        return cls(share, f".lvpack-store-{secrets.token_hex(4)}-")

    def room(self) -> int:
        """Return how many bytes can still be written there."""
        found = os.statvfs(self._share)
        return found.f_bavail * found.f_frsize

    def fresh(self, origin: int, undo: Undo) -> Store:
        """Make an empty store that an origin of that many bytes cannot overflow, if the share has the room.

        Stores that are there stay. Raises Failed if the share does not take the file.
        """
        token = secrets.token_hex(8)
        try:
            size = min(size_for(origin), self.room() // MIB * MIB)
            make_sparse(self._path(token), size)
        except OSError as error:
            raise Failed(
                f"cannot make the copy-on-write store on the share: {error.strerror}",
                hint="check the space on the share and that root of this machine may write there",
            ) from error
        return Store(device=attached(self._path(token), undo), size=size, place=self.place, token=token)

    def again(self, token: str, undo: Undo) -> Store:
        """Open the store with that token as an earlier boot left it. Raises Disagreement if it is gone."""
        path = self._path(token)
        try:
            os.close(guarded.opened(path))
        except (FileNotFoundError, guarded.Odd) as error:
            raise Disagreement(
                f"cannot find the copy-on-write store '{path.name}' on the share ({error.strerror}): the disk is half "
                "merged without it",
                hint="if this run began with another lvpack.scratch=, give that again; else put the store back from a "
                "backup of the share. Do not start the server",
            ) from None
        return Store(device=attached(path, undo), size=path.stat().st_size, place=self.place, token=token)

    def drop(self, token: str) -> None:
        """Remove the store with that token. One that cannot be removed stays."""
        with suppress(OSError):  # it is in nobody's way
            self._path(token).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Remove all stores. One that cannot be removed stays."""
        with suppress(OSError):
            for path in self._share.glob(f"{self._prefix}*"):
                path.unlink()

    def release(self) -> None:
        """Remove all stores."""
        self.drop_all()

    def _path(self, token: str) -> Path:
        return self._share / f"{self._prefix}{token}"
