"""Every write of a guest to a disk, in order: so the disk can be had as a power cut after any of them would leave it.

QEMU's blklogwrites writes the log (lvpack_builder.lab.qemu, Drive.log), in the format of the kernel's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst, drivers/md/dm-log-writes.c).
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path
from random import Random

from lvpack_agent.errors import Failed
from lvpack_agent.inplace import procedure
from lvpack_agent.inplace.states import same_extents, states
from lvpack_agent.inplace.steps import ReduceLv, Step
from lvpack_agent.layout.extents import Area, Segment
from lvpack_agent.layout.volumes import LogicalVolume, MetadataArea, PhysicalVolume, VolumeGroup
from lvpack_agent.lvm import pvlabel, tags
from lvpack_agent.lvm.vgtext import Section, parse
from lvpack_agent.plan.values import Plan
from lvpack_builder.lab.demo import sparse_copy

SECTOR = 512
_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _DISCARD = 1, 4
# How many cuts are after writes of data in a step, and how many in all.
DATA_CUTS, MOST_CUTS = 2, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """size bytes that were written at a byte of the disk, and where the log has them, None: zeros; or a flush."""

    at: int
    size: int
    data: int | None
    flush: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A power cut after so many entries of the log, when a step of that number was to be done, or was being done.

    Entries that are lost, by their numbers from 0, came after the last flush.
    """

    entries: int
    step: int
    lost: frozenset[int] = frozenset()


class WriteLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = tuple(self._read())

    def _read(self) -> Iterator[Entry]:
        with self._path.open("rb") as file:
            magic, version, count, sector = _SUPER.unpack(file.read(_SUPER.size))
            assert (magic, version, sector) == (_MAGIC, 1, SECTOR)
            at = SECTOR
            for _ in range(count):
                file.seek(at)
                where, sectors, flags, _ = _ENTRY.unpack(file.read(_ENTRY.size))
                at += SECTOR
                size, discard = sectors * SECTOR, bool(flags & _DISCARD)
                data = None if discard else at
                yield Entry(at=where * SECTOR, size=size, data=data, flush=bool(flags & _FLUSH))
                at += 0 if discard else size

    def replayed(self, pristine: Path, count: int, target: Path, lost: frozenset[int] = frozenset()) -> Path:
        """Make a disk of the first entries, but those that are lost, and of what it was before."""
        sparse_copy(pristine, target)
        with target.open("r+b") as file:
            for number, entry in enumerate(self.entries[:count]):
                if number not in lost:
                    os.pwrite(file.fileno(), self.data(entry), entry.at)
        return target

    def data(self, entry: Entry) -> bytes:
        if entry.data is None:
            return bytes(entry.size)
        with self._path.open("rb") as file:
            return os.pread(file.fileno(), entry.size, entry.data)


class Timeline:
    """How the VG of an in-place run with regrow changed, by its log; scratch is a path for a copy of the PV.

    Of its steps, the first so many as shrinking says make the disk small.
    """

    def __init__(self, log: WriteLog, plan: Plan, pristine: Path, scratch: Path) -> None:
        [vg] = plan.source.vgs
        [pv] = vg.pvs
        shrinking = procedure.shrinking(plan)
        self.todo, self.shrinking = (*shrinking, *procedure.regrowing(plan)), len(shrinking)
        self._log = log
        self._start, self._pe_start, self._pe_end = plan.source.pv_start(pv), pv.pe_start, plan.source.pv_end(pv)
        self._second_areas = [
            pv.second_area for side in (plan.source, plan.target) for pv in side.vgs[0].pvs if pv.second_area
        ]
        self._states = states(vg, self.todo)
        _copy_head(pristine, plan, scratch)
        self._ends = dict(self._found_ends(scratch))

    def cuts(self, wanted: Callable[[Step, VolumeGroup], bool], dice: Random, most: int = MOST_CUTS) -> list[Cut]:
        """Return cuts at steps, of which wanted is told what the VG is before them: at most so many.

        They are chosen from those before the first write of a step, after each of metadata, and after some of data,
        as many for each kind of step, on the way down and back. Steps that do not change the VG have none. One is
        such that of the commits of a step only those to a second metadata area are left, if there is one.
        """
        kinds: dict[object, list[Cut]] = {}
        for step in self._ends:
            if wanted(self.todo[step], self._states[step]):
                kinds.setdefault((type(self.todo[step]), step < self.shrinking), []).extend(self._cuts(step, dice))
        for cuts in kinds.values():
            dice.shuffle(cuts)
        in_turn = [cut for some in zip_longest(*kinds.values()) for cut in some if cut]
        chosen = [*in_turn[:most], *self._with_a_newer_second_area(dice)]
        return sorted(chosen, key=lambda cut: (cut.entries, cut.step))

    def _with_a_newer_second_area(self, dice: Random) -> list[Cut]:
        """Return at most one cut: after a step by LVM, of which the disk loses all that went to the first area."""
        steps = [step for step in self._ends if isinstance(self.todo[step], ReduceLv)] if self._second_areas else []
        if not steps:
            return []
        step = dice.choice(steps)
        flushes = [n for n, entry in enumerate(self._log.entries) if entry.flush]
        begin = max(n for n in flushes if n < self._ends[step])
        end = min(n for n in flushes if n >= self._ends[step])
        lost = frozenset(n for n in range(begin, end) if self._is_before_extents(self._log.entries[n]))
        assert any(self._is_metadata(self._log.entries[n]) for n in range(begin, end) if n not in lost)
        return [Cut(entries=end, step=step, lost=lost)]

    def _cuts(self, step: int, dice: Random) -> list[Cut]:
        end = self._ends[step]
        begin = self._ends.get(step - 1)
        if begin is None:  # all that is known is that the step before ended with a flush, or an earlier one than this
            begin = max(n for n, entry in enumerate(self._log.entries[:end], 1) if entry.flush)
        counts = [n for n in range(begin + 1, end + 1) if self._log.entries[n - 1].size]
        metadata = [n for n in counts if self._is_metadata(self._log.entries[n - 1])]
        data = [n for n in counts if n not in metadata]
        data = dice.sample(data, min(DATA_CUTS, len(data)))
        return [Cut(entries=n, step=step) for n in sorted({begin, *metadata, *data})]

    def _is_metadata(self, entry: Entry) -> bool:
        """Tell whether something is written before the first extent, or where a second area was or will be."""
        at, end = entry.at - self._start, entry.at + entry.size - self._start
        return self._is_before_extents(entry) or any(
            at < a.start + a.size and a.start < end for a in self._second_areas
        )

    def _is_before_extents(self, entry: Entry) -> bool:
        return entry.at < self._start + self._pe_start

    def _found_ends(self, scratch: Path) -> Iterator[tuple[int, int]]:
        """Yield the steps that change the VG, and the number of entries after which it is as each leaves it."""
        changing = (n for n, (a, b) in enumerate(pairwise(self._states)) if not same_extents(a, b))
        wanted = next(changing, None)
        with scratch.open("r+b") as copy:
            for number, entry in enumerate(self._log.entries, 1):
                if not entry.size or entry.at + entry.size <= self._start or entry.at >= self._pe_end:
                    continue
                skipped = max(0, self._start - entry.at)
                os.pwrite(copy.fileno(), self._log.data(entry)[skipped:], entry.at + skipped - self._start)
                if wanted is None or not self._is_metadata(entry):
                    continue
                with suppress(Failed):
                    if same_extents(read_vg(scratch), self._states[wanted + 1]):
                        yield wanted, number
                        wanted = next(changing, None)
        if wanted is not None:
            raise Failed(f"cannot find step {wanted} in the log: {self.todo[wanted]}")


def areas_of(disk: Path, plan: Plan, scratch: Path) -> tuple[MetadataArea, ...]:
    """Return where the metadata areas of the only PV on a disk are; scratch is a path for a copy of its head."""
    return pvlabel.areas(str(_copy_head(disk, plan, scratch)))


def merges_on(disk: Path, plan: Plan, scratch: Path) -> list[str]:
    """Return the tokens of the stores whose merges have begun, as the VG on a disk says; scratch as in areas_of()."""
    pv = str(_copy_head(disk, plan, scratch))
    [vg] = parse(_decoded(pv, pvlabel.areas(pv)[0])).sections()
    try:
        found = vg.get("tags")
    except Failed:
        return []
    assert isinstance(found, tuple)
    return tags.merges(str(tag) for tag in found)


def _copy_head(disk: Path, plan: Plan, target: Path) -> Path:
    """Copy what a PV has before its first extent to a file as large as the PV."""
    [pv] = plan.source.vgs[0].pvs
    with disk.open("rb") as source, target.open("wb") as copy:
        source.seek(plan.source.pv_start(pv))
        copy.write(source.read(pv.pe_start))
        copy.truncate(plan.source.pv_end(pv) - plan.source.pv_start(pv))
    return target


def read_vg(pv: Path) -> VolumeGroup:
    """Return the VG as the metadata on its only PV has it, without LVM. Raises Failed if that is damaged."""
    areas = pvlabel.areas(str(pv))
    [vg] = parse(_decoded(str(pv), areas[0])).sections()
    [physical] = vg.section("physical_volumes").sections()
    return VolumeGroup(
        name=vg.name,
        uuid=str(vg.get("id")),
        extent_size=_number(vg, "extent_size") * SECTOR,
        pvs=(
            PhysicalVolume(
                uuid=str(physical.get("id")),
                disk=0,
                partition=0,
                size=0,
                pe_start=_number(physical, "pe_start") * SECTOR,
                extents=_number(physical, "pe_count"),
                metadata_areas=len(areas),
            ),
        ),
        lvs=tuple(
            LogicalVolume(
                name=lv.name,
                uuid=str(lv.get("id")),
                segments=tuple(_segment(s, str(physical.get("id"))) for s in lv.sections()),
            )
            for lv in vg.section("logical_volumes").sections()
        ),
    )


def _decoded(pv: str, area: MetadataArea) -> str:
    return pvlabel.text(pv, area).rstrip(b"\0").decode("utf-8", "surrogateescape")


def _segment(section: Section, pv: str) -> Segment:
    stripes = section.get("stripes")
    assert isinstance(stripes, tuple)
    first, *others = (int(pe) for pe in stripes[1::2])
    return Segment(
        le=_number(section, "start_extent"),
        pv=pv,
        pe=first,
        count=_number(section, "extent_count"),
        others=tuple(Area(pv=pv, pe=pe) for pe in others),
        stripe_size=_number(section, "stripe_size") * SECTOR if others else 0,
    )


def _number(section: Section, key: str) -> int:
    return int(str(section.get(key)))
