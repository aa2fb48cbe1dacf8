"""What the kernel's log says of disks that could not be read or written, and of snapshots that it gave up."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lvpack_agent.processes import run

SECTOR = 512  # the kernel counts in these on every disk
# kernel: block/blk-mq.c, blk_print_req_error(); kinds are those of blk_errors in block/blk-core.c.
_ERROR = re.compile(
    r"^(?:\w+: )?(?P<kind>[\w/ ]+ error|timeout|[\w ]+ conflict), dev (?P<name>\S+), sector (?P<sector>\d+) "
    r"op 0x[0-9a-f]+:\((?P<operation>\w+)\)",
    re.MULTILINE,
)
# kernel: drivers/md/dm-snap.c, __invalidate_snapshot()
_INVALID = re.compile(r"Invalidating snapshot: (?P<why>.*)$", re.MULTILINE)
_FULL = "Unable to allocate exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskError:
    """A request that a disk did not do: kind in the kernel's words, operation (READ, WRITE, …).

    sector, of 512 bytes, is the first of the request, or of what was left of it; the bad one may come after it.
    """

    kind: str
    name: str
    sector: int
    operation: str

    @property
    def path(self) -> str:
        """The path of the disk."""
        # kernel: disk names with a slash have "!" in its place (drivers/base/core.c)
        return f"/dev/{self.name.replace('!', '/')}"

    def __str__(self) -> str:
        done = {"READ": "read", "WRITE": "written", "FLUSH": "flushed", "DISCARD": "trimmed"}.get(self.operation)
        what = f"be {done}" if done else f"do {self.operation}"
        return f"disk '{self.path}' could not {what} from sector {self.sector} on ({self.kind})"


def parse(text: str) -> tuple[DiskError, ...]:
    """Return the errors in the text of `dmesg --notime`, in order. The kernel leaves out some when there are many."""
    return tuple(
        DiskError(kind=m["kind"], name=m["name"], sector=int(m["sector"]), operation=m["operation"])
        for m in _ERROR.finditer(text)
    )


def read() -> tuple[DiskError, ...]:
    """Return all errors that the kernel's log still has."""
    return parse(run(["dmesg", "--notime"]).stdout)


def of_disks(errors: Iterable[DiskError], paths: Iterable[str], operation: str = "READ") -> list[DiskError]:
    """Return the errors of an operation on disks, each sector once."""
    wanted = set(paths)
    return list(dict.fromkeys(e for e in errors if e.operation == operation and e.path in wanted))


def overflowed(text: str) -> bool:
    """Return whether the snapshot that the kernel gave up last was full; else an I/O error was the cause.

    text is that of `dmesg --notime`. Without a word of the kernel it was full, as is usual.
    """
    found = [m["why"] for m in _INVALID.finditer(text)]
    return not found or found[-1].startswith(_FULL)
