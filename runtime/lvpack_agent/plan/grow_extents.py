"""Extents that LVs get when they grow: new segments at their ends, in what is free on the PVs; arithmetic."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from lvpack_agent.errors import Failed
from lvpack_agent.layout.extents import Area, Segment, joined_segments
from lvpack_agent.layout.ranges import Range, complement
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup


def stripes_of(lv: LogicalVolume) -> int:
    """Return the stripes that the extents are in that an LV grows by: those of its last segment, 1 if it is linear."""
    return len(lv.segments[-1].areas)


def extended(vg: VolumeGroup, source: VolumeGroup, extents: Mapping[str, int]) -> VolumeGroup:
    """Return the VG with LVs that have as many extents as extents says by their UUIDs, where there is room for them.

    Each LV keeps the segments that it has. Linear ones get on each PV what they had there on the source; what they need
    beyond that is on the PV of their last segment, then on the others. Striped ones grow on the PVs of their stripes
    only, in whole stripes: where these have no room, they get fewer extents.
    Raises Failed if two LVs use one extent, or if linear ones find no room.
    """
    free = {pv.uuid: _free(vg, pv.uuid, pv.extents) for pv in vg.pvs}
    grown: dict[str, LogicalVolume] = {}
    for lv in sorted(vg.lvs, key=lambda lv: stripes_of(lv) == 1):
        more = extents.get(lv.uuid, lv.extents) - lv.extents
        if more <= 0:
            continue
        if stripes_of(lv) > 1:
            new = _striped(lv, more, free)
        else:
            had = next((_counts(old) for old in source.lvs if old.uuid == lv.uuid), Counter())
            new = _linear(vg, lv, more, free, had - _counts(lv))
        grown[lv.uuid] = replace(lv, segments=joined_segments((*lv.segments, *new)))
    for uuid, lv in grown.items():
        more = extents[uuid] - lv.extents
        if more > 0 and stripes_of(lv) == 1:
            new = _linear(vg, lv, more, free)
            grown[uuid] = replace(lv, segments=joined_segments((*lv.segments, *new)))
            if extents[uuid] > grown[uuid].extents:
                raise Failed(f"cannot grow LV '{lv.name}': VG '{vg.name}' lacks extents for it")
    return replace(vg, lvs=tuple(grown.get(lv.uuid, lv) for lv in vg.lvs))


def _free(vg: VolumeGroup, pv: str, extents: int) -> list[Range]:
    used = [
        Range(start=area.pe, count=s.length) for lv in vg.lvs for s in lv.segments for area in s.areas if area.pv == pv
    ]
    end = 0
    for part in sorted(used, key=lambda part: part.start):
        if part.start < end or part.end > extents:
            raise Failed(f"cannot grow VG '{vg.name}': extent {part.start} of PV {pv} is used twice or does not exist")
        end = part.end
    return list(complement(used, extents))


def _counts(lv: LogicalVolume) -> Counter[str]:
    """Return how many extents an LV has on each PV."""
    found: Counter[str] = Counter()
    for segment in lv.segments:
        for area in segment.areas:
            found[area.pv] += segment.length
    return found


def _linear(
    vg: VolumeGroup,
    lv: LogicalVolume,
    more: int,
    free: dict[str, list[Range]],
    most: Mapping[str, int] | None = None,
) -> list[Segment]:
    """Return segments of more extents, or of what is free; on no PV more than most has for it, if that is given."""
    home = lv.segments[-1].pv
    found: list[Segment] = []
    le = lv.extents
    for pv in (home, *(pv.uuid for pv in vg.pvs if pv.uuid != home)):
        for part in _taken(free[pv], more if most is None else min(more, most.get(pv, 0))):
            found.append(Segment(le=le, pv=pv, pe=part.start, count=part.count))
            le, more = le + part.count, more - part.count
    return found


def _striped(lv: LogicalVolume, more: int, free: dict[str, list[Range]]) -> list[Segment]:
    last = lv.segments[-1]
    on = [area.pv for area in last.areas]
    length = min(more // len(on), *(sum(r.count for r in free[pv]) // on.count(pv) for pv in on))
    columns = [_taken(free[pv], length) for pv in on]
    cuts = sorted({0, *(end for column in columns for end in _ends(column))})
    found: list[Segment] = []
    for first, after in pairwise(cuts):
        areas = [Area(pv=pv, pe=_at(column, first)) for pv, column in zip(on, columns, strict=True)]
        found.append(
            Segment(
                le=lv.extents + first * len(on),
                pv=areas[0].pv,
                pe=areas[0].pe,
                count=(after - first) * len(on),
                others=tuple(areas[1:]),
                stripe_size=last.stripe_size,
            )
        )
    return found


def _taken(free: list[Range], most: int) -> list[Range]:
    """Take at most so many extents from the begin of free ranges; return which."""
    taken = []
    while most and free:
        part = free.pop(0)
        count = min(part.count, most)
        taken.append(replace(part, count=count))
        most -= count
        if part.count > count:
            free.insert(0, Range(start=part.start + count, count=part.count - count))
    return taken


def _ends(column: Iterable[Range]) -> list[int]:
    """Return where, counted in the extents of a column, its ranges end."""
    ends, at = [], 0
    for part in column:
        at += part.count
        ends.append(at)
    return ends


def _at(column: Iterable[Range], offset: int) -> int:
    """Return the extent that is so far from the begin of a column."""
    for part in column:
        if offset < part.count:
            return part.start + offset
        offset -= part.count
    raise AssertionError("the column is shorter")
