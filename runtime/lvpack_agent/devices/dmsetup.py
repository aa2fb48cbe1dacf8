"""Device-mapper: tables as values, devices that vanish with the Undo that made them."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.devices import ioerrors
from lvpack_agent.errors import Failed, understood
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo

SECTOR = 512  # device-mapper counts in these on every device (dmsetup(8))
CHUNK_SECTORS = 8  # a page: what filesystems write is copied and nothing around it


_PLACE = re.compile(r"\b(\d+:\d+) (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """size bytes of a device from offset on; device "" is zeros that swallow writes."""

    device: str
    offset: int
    size: int

    def render(self, start_sector: int) -> str:
        """Return the line of a table for these bytes, which begin at start_sector of the mapping."""
        count = self.size // SECTOR
        if not self.device:
            return f"{start_sector} {count} zero"
        return f"{start_sector} {count} linear {self.device} {self.offset // SECTOR}"


def linear_table(parts: Sequence[Linear]) -> str:
    """Return the table of a device made of parts one after another."""
    lines, at = [], 0
    for part in parts:
        assert part.size > 0 and part.size % SECTOR == 0 and part.offset % SECTOR == 0, part
        lines.append(part.render(at))
        at += part.size // SECTOR
    return "\n".join(lines) + "\n"


def snapshot_table(origin: str, store: str, size: int, *, persistent: bool = False) -> str:
    """Return the table of a snapshot (kernel: Documentation/admin-guide/device-mapper/snapshot.rst).

    A persistent one is there again when it is mapped again with the same store, after a power loss too.
    """
    return f"0 {size // SECTOR} snapshot {origin} {store} {'P' if persistent else 'N'} {CHUNK_SECTORS}\n"


def merge_table(origin: str, store: str, size: int) -> str:
    """Return the table that writes a persistent snapshot back to its origin; mapped again, it goes on."""
    return f"0 {size // SECTOR} snapshot-merge {origin} {store} P {CHUNK_SECTORS}\n"


def create(name: str, table: str, undo: Undo, *, read_only: bool = False) -> str:
    """Make a mapping that undo removes; return its path.

    A source that must not change has to be mapped read_only, too: on a read-only disk (blockdev.set_read_only) the
    kernel refuses the writes of programs, but not those that come through a mapping.
    """
    _dmsetup(["create", *(["--readonly"] if read_only else []), name], input=table)
    undo.callback(remove, name)
    return f"/dev/mapper/{name}"


def number(device: str) -> str:
    """Return the number of a block device as tables have it, MAJOR:MINOR."""
    found = Path(device).stat().st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def table(device: str) -> str:
    """Return the table of a mapping."""
    return run(["dmsetup", "table", device]).stdout


def moved(table: str, under: Mapping[str, tuple[str, int]]) -> str:
    """Return a table in which other devices take the place of its own.

    under has, by the number of a device, the device that takes its place, and the byte where the old one begins there.
    """

    def place(found: re.Match[str]) -> str:
        device, start = under[found[1]]
        return f"{device} {int(found[2]) + start // SECTOR}"

    return _PLACE.sub(place, table)


def remove(name: str) -> None:
    """Remove a mapping; --retry waits for programs that only look at it (udev's blkid) to close it."""
    _dmsetup(["remove", "--retry", name])


def _dmsetup(words: Sequence[str], input: str | None = None) -> None:
    # While udev runs, dmsetup leaves the node to it, and the live image has no udev rule for that (lvm(8)).
    run(["dmsetup", *words], input=input, env={"DM_DISABLE_UDEV": "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """Bytes of a snapshot's store: in use, in all, and, of those in use, what its own tables take (own)."""

    used: int
    size: int
    own: int

    @property
    def data(self) -> int:
        """The bytes of data in the store, without its own tables."""
        return self.used - self.own


@understood("the answer of dmsetup")
def parse_snapshot_status(text: str) -> StoreUse | None:
    """Read `dmsetup status` of a snapshot: `0 N snapshot USED/SIZE META`; None once it has overflowed or failed."""
    words = text.split()
    if len(words) < 5 or "/" not in words[3]:
        return None  # "Invalid", "Overflow" and "Merge failed" stand in the place of the numbers
    used, size = words[3].split("/")
    return StoreUse(used=int(used) * SECTOR, size=int(size) * SECTOR, own=int(words[4]) * SECTOR)


def store_use(name: str) -> StoreUse:
    """Return how full a snapshot's store is. Raises Failed if the snapshot is lost, with the cause.

    The status says no more than "Invalid" when the store, without support for an overflow, is full; the kernel's log
    tells (drivers/md/dm-snap.c, snapshot_map()).
    """
    status = run(["dmsetup", "status", name]).stdout
    use = parse_snapshot_status(status)
    if use is None:
        if "Overflow" not in status and not ioerrors.overflowed(run(["dmesg", "--notime"]).stdout):
            raise Failed(
                "cannot go on: a disk, or what has the copy-on-write store, could not be read or written, and what was "
                "written to the store is lost",
                hint="the source is untouched; look at dmesg: is the disk sound, and the share or scratch device? More "
                "room for the store does not help",
            )
        raise Failed(
            "cannot go on: the copy-on-write store overflowed, and what was written to it is lost",
            hint="the source is untouched; give the store more room (memory, lvpack.scratch), or shrink less with a "
            "larger lvpack.margin",
        )
    return use
