"""The values of a list of image sets: a row for each set, and for each log of a backup that ended badly.

Text in them is printable. They are made, and tested, in listing.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

COMPLETE, BAD, UNFINISHED = "complete", "bad", "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """An image set, one that is unfinished, or what looks like one and is bad: state and cause say so.

    created is in seconds since 1970, of a set that is not complete by its name; sizes are in bytes, of all disks of the
    set. None is what is not known. machine is what its name begins with, model what its DMI says.
    """

    name: str
    state: str
    machine: str
    created: int | None = None
    source_disk: int | None = None
    packed_disk: int | None = None
    stored: int | None = None
    model: str = ""
    product_uuid: str = ""
    vgs: tuple[str, ...] = ()
    lvpack: str = ""
    warnings: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """The log of a backup that ended without a set; ended is in seconds since 1970, None if it does not say."""

    file: str
    name: str
    machine: str
    ended: int | None = None
    status: str = ""
    message: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is on a share at a time, in seconds since 1970: by machine, and of each the newest first."""

    share: str
    now: int
    sets: tuple[SetRow, ...] = ()
    failed: tuple[LogRow, ...] = ()

    @property
    def machines(self) -> tuple[str, ...]:
        """The names of all machines, in order."""
        return tuple(sorted({row.machine for row in self.sets} | {log.machine for log in self.failed}))


def newest(rows: Sequence[SetRow]) -> SetRow | None:
    """Return the newest complete set of which it is known when it was made."""
    known = [row for row in rows if row.state == COMPLETE and row.created is not None]
    return max(known, key=lambda row: row.created or 0, default=None)
