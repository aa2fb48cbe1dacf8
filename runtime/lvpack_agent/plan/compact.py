"""Compaction: the extents of each PV collected at its start, by arithmetic alone.

A PV that uses N extents keeps those of them that are among its first N extents where they are; those beyond fill the
holes between. No compaction can move less, and no range ever overlaps the place that it goes to, however
full the PV is. Overlay mode renders the moves as a device-mapper table, in-place mode as pvmove
ranges, in any order. PVs of other disks can be collapsed into one: all their extents count as beyond.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from lvpack_agent.errors import Failed
from lvpack_agent.layout.extents import Area, Move, Segment, joined_segments
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.sizes import round_up

# By the UUID of a PV that gives up all its extents: the UUID of the PV that takes them.
Homes = Mapping[str, str]
AT_HOME: Homes = MappingProxyType({})


def truncated(lv: LogicalVolume, extents: int) -> LogicalVolume:
    """Return the LV cut to its first extents: at most as many as it has, and a number that whole_stripes() returns."""
    assert 0 < extents <= lv.extents, (lv.name, extents)
    assert extents == whole_stripes(lv, extents), (lv.name, extents)
    kept = tuple(
        s.part(0, min(s.count, extents - s.le) // len(s.areas), s.areas) for s in lv.segments if s.le < extents
    )
    return replace(lv, segments=kept)


def whole_stripes(lv: LogicalVolume, extents: int) -> int:
    """Return the least number of extents, not below the given one, that an LV can be cut to."""
    last = next(s for s in lv.segments if s.le < extents <= s.le + s.count)
    stripes = len(last.areas)
    return last.le + round_up(extents - last.le, stripes)


def compact(vg: VolumeGroup, homes: Homes = AT_HOME) -> tuple[Move, ...]:
    """Return the moves that leave no hole on any PV, sorted by PV and source. Each used extent is in exactly one."""
    moves: list[Move] = []
    parts: dict[str, list[Range]] = {pv.uuid: [] for pv in vg.pvs}
    for area, count in _areas(vg):
        parts[area.pv].append(Range(start=area.pe, count=count))
    for pv in vg.pvs:
        _refuse_overlaps(vg, pv.uuid, pv.extents, parts[pv.uuid])
    for pv in vg.pvs:
        if pv.uuid in homes:
            continue
        own = sorted(parts[pv.uuid], key=lambda p: p.start)
        beyond = [(uuid, p) for uuid, home in homes.items() if home == pv.uuid for p in parts[uuid]]
        used = sum(p.count for p in own) + sum(p.count for _, p in beyond)
        holes: list[Range] = []
        end = 0
        for part in own:
            holes.append(Range(start=end, count=min(part.start, used) - end))
            end = part.end
            staying = max(0, min(end, used) - part.start)
            if staying:
                moves.append(Move(pv=pv.uuid, source=part.start, target=part.start, count=staying))
            beyond.append((pv.uuid, Range(start=part.start + staying, count=part.count - staying)))
        holes.append(Range(start=end, count=used - end))
        for uuid, source, target in _fill([h for h in holes if h.count > 0], [b for b in beyond if b[1].count > 0]):
            to = "" if uuid == pv.uuid else pv.uuid
            moves.append(Move(pv=uuid, source=source.start, target=target, count=source.count, to=to))
    assert sum(m.count for m in moves) == sum(lv.extents for lv in vg.lvs)
    return tuple(sorted(moves, key=lambda m: (m.pv, m.source)))


def _areas(vg: VolumeGroup) -> Iterator[tuple[Area, int]]:
    """Yield each area of each LV, and its number of extents."""
    return ((area, s.length) for lv in vg.lvs for s in lv.segments for area in s.areas)


def _refuse_overlaps(vg: VolumeGroup, pv: str, extents: int, parts: list[Range]) -> None:
    end = 0
    for part in sorted(parts, key=lambda p: p.start):
        if part.start < end or part.end > extents:
            raise Failed(
                f"cannot compact VG '{vg.name}': extent {part.start} of PV {pv} is used twice or does not exist",
                hint="check the VG with vgck",
            )
        end = part.end


def _fill(holes: list[Range], parts: list[tuple[str, Range]]) -> Iterator[tuple[str, Range, int]]:
    """Yield (PV, range, first extent of its new place) until parts and holes, of the same sum, are used up.

    The largest part goes into the smallest hole that takes it whole; if none does, it fills the largest one.
    """
    while parts:
        pv, part = max(parts, key=lambda p: (p[1].count, -p[1].start))
        fitting = [h for h in holes if h.count >= part.count]
        hole = min(fitting, key=lambda h: (h.count, h.start)) if fitting else max(holes, key=lambda h: h.count)
        count = min(part.count, hole.count)
        yield pv, Range(start=part.start, count=count), hole.start
        parts.remove((pv, part))
        holes.remove(hole)
        if part.count > count:
            parts.append((pv, Range(start=part.start + count, count=part.count - count)))
        if hole.count > count:
            holes.append(Range(start=hole.start + count, count=hole.count - count))
    assert not holes


def relocated(vg: VolumeGroup, *moves: Move) -> VolumeGroup:
    """Return the VG after moves, made all at once: segments are split where moves cut them, adjacent ones joined."""
    lvs = (replace(lv, segments=joined_segments(p for s in lv.segments for p in _relocated(s, moves))) for lv in vg.lvs)
    return replace(vg, lvs=tuple(lvs))


def _relocated(s: Segment, moves: tuple[Move, ...]) -> Iterator[Segment]:
    """Yield what becomes of a segment; where one of its areas is cut all are, for stripes stand side by side."""
    by_area = _by_area(s, moves)
    for first, last in pairwise(_cuts(s, by_area)):
        yield s.part(first, last - first, [_place(a, first, some) for a, some in by_area])


def _by_area(s: Segment, moves: Iterable[Move]) -> list[tuple[Area, list[Move]]]:
    """Return each area of a segment with the moves that take extents of it."""
    return [
        (a, [m for m in moves if m.pv == a.pv and m.source < a.pe + s.length and a.pe < m.source + m.count])
        for a in s.areas
    ]


def _cuts(s: Segment, by_area: Iterable[tuple[Area, list[Move]]]) -> list[int]:
    """Return the offsets in each area of a segment at which moves cut it, its begin and its end among them."""
    ends = (end - a.pe for a, some in by_area for m in some for end in (m.source, m.source + m.count))
    return sorted({0, s.length, *(cut for cut in ends if 0 < cut < s.length)})


def one_by_one(vg: VolumeGroup, moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """Return the moves, cut so that each takes extents of a single segment, whichever of the others were made before.

    Moving extents of one stripe splits the segment, so that a longer move of another stripe would be of two segments.
    """
    parts = []
    for segment in (s for lv in vg.lvs for s in lv.segments):
        by_area = _by_area(segment, moves)
        for first, last in pairwise(_cuts(segment, by_area)):
            for area, some in by_area:
                pe = area.pe + first
                parts += [
                    replace(m, source=pe, target=m.target + pe - m.source, count=last - first)
                    for m in some
                    if m.source <= pe < m.source + m.count
                ]
    return tuple(sorted(parts, key=lambda m: (m.pv, m.source)))


def _place(area: Area, offset: int, moves: list[Move]) -> Area:
    """Return where an extent of an area is after moves; those that none of them takes stay."""
    pe = area.pe + offset
    for move in moves:
        if move.source <= pe < move.source + move.count:
            return Area(pv=move.home, pe=pe - move.source + move.target)
    return Area(pv=area.pv, pe=pe)


def moved(vg: VolumeGroup, moves: tuple[Move, ...], homes: Homes = AT_HOME) -> VolumeGroup:
    """Return the VG after its compaction: PVs are cut to the extents in use, and those that gave all away are gone."""
    pvs = []
    for pv in vg.pvs:
        if pv.uuid not in homes:
            used = sum(m.count for m in moves if m.home == pv.uuid)
            # A PV without any extent is nothing that LVM makes.
            pvs.append(replace(pv, extents=max(1, used)))
    # All at once: one after another, those of several PVs could pass through extents that others still have.
    return replace(relocated(vg, *moves), pvs=tuple(pvs))
