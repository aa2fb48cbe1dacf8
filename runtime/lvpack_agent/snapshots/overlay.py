"""A copy-on-write overlay over disks that stay as they are.

Order matters: LVM must never see two copies of a PV, so each stage closes its mappings before the next opens its own.

Needs device-mapper: it is tested in guests, by every backup in overlay mode.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.layout.ranges import Range
from lvpack_agent.sizes import MIB, round_up
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo

SOURCE = "lvpack-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaid:
    """Disks under one overlay, in order: a device for each, and the store that takes what is written to them."""

    devices: tuple[str, ...]
    store: Store


@contextmanager
def overlay(disks: Sequence[str], make_store: Callable[[Undo], Store]) -> Iterator[Overlaid]:
    """Put one copy-on-write overlay over disks, which are not written; make_store makes its store.

    If what fails inside did so because the store overflowed, a Failed that says so is raised instead.
    """
    with Undo() as undo:
        store = make_store(undo)
        origin, places = _side_by_side(disks, undo) if len(disks) > 1 else (disks[0], [])
        table = dmsetup.snapshot_table(origin, store.device, size_of(origin))
        whole = dmsetup.create(SOURCE, table, undo)
        devices = [
            dmsetup.create(
                f"{SOURCE}{number}",
                dmsetup.linear_table([Linear(device=whole, offset=place.start, size=place.count)]),
                undo,
            )
            for number, place in enumerate(places)
        ]
        try:
            yield Overlaid(devices=tuple(devices or [whole]), store=store)
        except (Failed, Refused):
            dmsetup.store_use(SOURCE)  # a tool that failed on an overflowed store is not the cause
            raise


def _side_by_side(disks: Sequence[str], undo: Undo) -> tuple[str, list[Range]]:
    """Map disks as one device, so that one store serves all.

    Return the device, and for each disk its bytes there; each begins at a whole MiB.
    """
    pieces: list[Linear] = []
    places: list[Range] = []
    at = 0
    for disk in disks:
        size = size_of(disk)
        places.append(Range(start=at, count=size))
        at = round_up(at + size, MIB)
        pieces.append(Linear(device=disk, offset=0, size=size))
        if at > places[-1].end:
            pieces.append(Linear(device="", offset=0, size=at - places[-1].end))
    return dmsetup.create("lvpack-disks", dmsetup.linear_table(pieces), undo, read_only=True), places
