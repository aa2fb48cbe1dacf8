"""A share as a run works with it: a folder, and what that cannot do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lvpack_agent.devices.lsblk import AUTO
from lvpack_agent.errors import Refused
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.sizes import human


class Secrets(Protocol):
    """Where a share finds its passwords and keys."""

    def need(self, name: str, what: str) -> bytes:
        """Return the secret with a fixed name; what says what it is for. Raises Refused if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a share is used: its options and secrets, and for how many seconds a server may be silent.

    disks is the value of lvpack.disk: a share is on none of the disks that it names. read_only: nothing is written.
    """

    options: ShareOptions
    secrets: Secrets
    patience: float
    read_only: bool
    disks: tuple[str, ...] = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What a scheme has mounted: how, in words, and how to let go of it.

    give_up lets every call to it fail from now on, those that wait now, too; it never waits itself. close ends what was
    opened for that. is_remote: a server is asked, which may be silent. device is the block device of this machine that
    has the share, "" if none has. largest is how many bytes a file can have, None if more than any image. no_journal
    says why the journal of in-place mode, and its stores, cannot be there; "" if they can.
    """

    how: str
    give_up: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    is_remote: bool = True
    device: str = ""
    largest: int | None = None
    no_journal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mounted share: its URL for people, the folder where it is, and what it cannot do (see Mount)."""

    name: str
    folder: Path
    device: str = ""
    largest: int | None = None
    no_journal: str = ""

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
