"""Bad sectors of a source: where they are, which files they were in, and the way around them (lvpack.errors).

What is arithmetic has unit tests (layout/spots.py, plan/locate.py, image/salvage.py, image/losses.py); the rest is
tested in guests, as disks with bad sectors are: qemu-tests/tests/test_bad_sectors.py.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from lvpack_agent.devices import dmsetup, ioerrors
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.filesystems.owners import owners
from lvpack_agent.image.losses import Loss
from lvpack_agent.image.salvage import Salvage, Unreadable
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range, complement, joined
from lvpack_agent.layout.spots import FREE, Spot, spots
from lvpack_agent.probe.open import Volume, opened
from lvpack_agent.sizes import KIB, MIB
from lvpack_agent.undo import Undo

# So often a place of a packed disk has to fail, while the source is read there, until the store is at fault.
TRIES = 3
# Sectors that a disk is asked for to see whether it still answers; what is looked at after a bad sector.
ASKED, REGION = 16, 2 * MIB
# Blocks of a volume that are looked up by file; bytes after a failed read in which the bad sector is looked for.
MOST_BLOCKS, LOOKED = 20_000, 64 * KIB

SKIP_HINT = (
    "the disk has bad sectors (dmesg, smartctl). lvpack.errors=skip, in overlay mode, packs all that can be read and "
    "lists the rest; "
    "ddrescue makes a copy that takes the time that such a disk needs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The disks that a packed disk is read from: layout, whose volumes name its bytes, and the paths of its disks.

    locate yields where bytes of a packed disk (its index, first byte, count) are on them.
    """

    layout: Layout
    paths: tuple[str, ...]
    locate: Callable[[int, int, int], Iterator[Spot]]

    def sector(self, disk: int) -> int:
        """Return the bytes of a disk's logical sector."""
        return self.layout.disks[disk].sector_size


@dataclass(slots=True, kw_only=True)
class Holes:
    """Ranges in bytes, by the path of a disk, that could not be read: they are zeros in what is made of the disks.

    untried: how many bytes of them were given up, without an attempt to read them.
    """

    ranges: dict[str, tuple[Range, ...]] = field(default_factory=dict)
    untried: int = 0
    _looked: set[tuple[str, int]] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How many bytes there are in all holes."""
        return sum(part.count for parts in self.ranges.values() for part in parts)

    def spots(self, origin: Origin) -> Iterator[Spot]:
        """Yield what the holes are in the origin's layout."""
        for index, path in enumerate(origin.paths):
            for part in self.ranges.get(path, ()):
                yield from spots(origin.layout, index, part.start, part.count)

    def over(self, paths: Sequence[str], undo: Undo) -> tuple[str, ...]:
        """Return devices that are the disks with zeros in the holes; a disk without one stands for itself."""
        devices = []
        for number, path in enumerate(paths):
            holes = self.ranges.get(path, ())
            if not holes:
                devices.append(path)
                continue
            size = size_of(path)
            parts = [(part, path) for part in complement(holes, size)] + [(part, "") for part in holes]
            parts.sort(key=lambda item: item[0].start)
            table = dmsetup.linear_table(
                [Linear(device=device, offset=part.start, size=part.count) for part, device in parts]
            )
            devices.append(dmsetup.create(f"lvpack-readable{number}", table, undo, read_only=True))
        return tuple(devices)

    def widen(self, paths: Sequence[str], sectors: Mapping[str, int]) -> int:
        """Add what cannot be read from the sectors on that the kernel's log names; return how many bytes are new.

        A request has at most REGION bytes. sectors has the bytes of a sector by the path of a disk.
        """
        before = self.count
        for path in paths:
            known = self.ranges.get(path, ())
            named = {e.sector * ioerrors.SECTOR // sectors[path] for e in ioerrors.of_disks(ioerrors.read(), [path])}
            for sector in sorted(named):
                if (path, sector) not in self._looked:
                    tried = _tried(path, sector * sectors[path], sectors[path])
                    known = joined((*known, *tried.lost))
                    self.untried += sum(part.count for part in tried.given_up)
                    self._looked.add((path, sector))
            self.ranges[path] = known
        return self.count - before


def _tried(path: str, start: int, sector: int) -> Salvage:
    """Return what cannot be read of a disk's region. Raises Failed if the disk does not answer."""
    with DirectReader(path) as reader:
        size = size_of(path)
        salvage = Salvage(reader.read, sector, lambda _: _refuse_gone(reader, path, size, sector))
        with memoryview(bytearray(min(REGION, size - start))) as view:
            salvage.fill(view, start)
        return salvage


def _refuse_gone(reader: DirectReader, path: str, size: int, sector: int) -> None:
    """Raise Failed if a disk cannot be read anywhere any more."""
    places = (size * number // ASKED // sector * sector for number in range(ASKED))
    if not any(reader.reads(place, sector) for place in places):
        raise Failed(
            f"cannot go on: disk '{path}' does not answer any more",
            hint="check its cable and power; a disk that comes back can be packed with lvpack.errors=skip",
        )


@contextmanager
def salvage(origin: Origin, index: int, device: str) -> Iterator[Salvage]:
    """Yield what reads a packed disk, by its index, around the bad sectors of its source.

    What the source gives by now is read once more, as a sector may fail now and then. It raises Failed where the packed
    disk fails again and again though the source can be read: then it is the store that fails.
    """
    sector = max(disk.sector_size for disk in origin.layout.disks)
    contradicted = Counter[int]()

    def judge(lost: tuple[Range, ...]) -> bool:
        for spot in origin.locate(index, lost[0].start, sector):
            path = origin.paths[spot.disk]
            with DirectReader(path) as disk:
                _refuse_gone(disk, path, size_of(path), sector)
                if not disk.reads(spot.start, sector):
                    return False
        contradicted[lost[0].start] += 1
        if contradicted[lost[0].start] < TRIES:
            return True
        raise Failed(
            f"cannot read '{device}' at byte {lost[0].start:,}, though the disk can be read there: it is the "
            "copy-on-write store that fails",
            hint="look at dmesg; check what has the store (lvpack.scratch): memory, the share or a scratch device",
        )

    with DirectReader(device) as reader:
        yield Salvage(reader.read, sector, judge)


def explained(error: Unreadable, origin: Origin, index: int, packed: Sequence[str], target: Layout, at: Path) -> Failed:
    """Return the error of a packed disk that cannot be read with disk, sector, LV and file, as far as these are known.

    packed are all packed disks, of layout target; at is a folder to mount filesystems in.
    """
    for spot in origin.locate(index, error.at, LOOKED):
        path, sector = origin.paths[spot.disk], origin.sector(spot.disk)
        with suppress(OSError), DirectReader(path) as disk:
            bad = next((n for n in range(0, spot.count, sector) if not disk.reads(spot.start + n, sector)), None)
            if bad is None:
                continue
            exact = replace(spot, start=spot.start + bad, at=spot.at + bad, count=sector)
            [loss, *_] = named_in_packed([exact], origin, packed, target, at)
            file = f", file '{loss.file}'" if loss.file.startswith("/") else f", {loss.file}" if loss.file else ""
            return Failed(
                f"cannot read disk '{path}' at sector {loss.sector} ({loss.volume}, byte {loss.offset:,}{file}): "
                f"{os.strerror(error.number)}",
                hint=SKIP_HINT,
            )
    return Failed(error.message, hint="look at dmesg: are the disk and the copy-on-write store sound?")


def named_in_packed(
    spots: Sequence[Spot], origin: Origin, packed: Sequence[str], target: Layout, folder: Path
) -> list[Loss]:
    """Return spots as losses, with the files of the packed disks that they are in; without files if those do not open.

    packed are all packed disks, of layout target; folder is a place to mount filesystems at.
    """
    with ExitStack() as undo:
        volumes: Sequence[Volume] = ()
        with suppress(Failed, Refused, OSError):
            disks = tuple(zip(packed, target.disks, strict=True))
            volumes = undo.enter_context(opened(disks, "locate", estimate=False)).volumes()
        return named(spots, origin, volumes, folder)


def named(spots: Sequence[Spot], origin: Origin, volumes: Iterable[Volume], folder: Path) -> list[Loss]:
    """Return spots as losses, one for each file that they are in, as far as the volumes tell."""
    known = {volume.key: volume for volume in volumes}
    found: dict[object, dict[int, str]] = {}
    for key in {spot.key for spot in spots if spot.key in known}:
        volume = known[key]
        if not volume.content.block_size:
            continue
        blocks = (b for spot in spots if spot.key == key for b in _blocks(spot, volume.content.block_size))
        found[key] = owners(volume.device, volume.content, islice(blocks, MOST_BLOCKS), folder)
    return [
        Loss(
            disk=origin.paths[spot.disk],
            sector=part.start // origin.sector(spot.disk),
            sectors=max(1, part.count // origin.sector(spot.disk)),
            volume=spot.name,
            offset=spot.at + part.start - spot.start,
            file=file,
        )
        for spot in spots
        for part, file in _by_file(spot, known, found.get(spot.key, {}))
    ]


def _blocks(spot: Spot, size: int) -> range:
    return range(spot.at // size, (spot.at + spot.count - 1) // size + 1)


def _by_file(spot: Spot, known: Mapping[Any, Volume], files: Mapping[int, str]) -> list[tuple[Range, str]]:
    """Return the parts of a spot, as bytes of the disk, with the files that they are in."""
    whole = Range(start=spot.start, count=spot.count)
    if not files:
        return [(whole, FREE if spot.is_free else "")]
    size = known[spot.key].content.block_size
    parts: list[tuple[Range, str]] = []
    for block in _blocks(spot, size):
        start = max(spot.start, spot.start + block * size - spot.at)
        end = min(whole.end, spot.start + (block + 1) * size - spot.at)
        file = files.get(block, "")
        if parts and parts[-1][1] == file:
            start = parts.pop()[0].start
        parts.append((Range(start=start, count=end - start), file))
    return parts
