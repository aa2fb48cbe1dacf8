"""Compaction: the extents of a PV collected at its start, by arithmetic alone.

What lies within the first N extents of a PV, N being the number that is used, stays where it is; what lies beyond
fills the holes among them. That is the least that any compaction moves, and no range ever overlaps the place that it
goes to, however full the PV is. Overlay mode renders the moves as a device-mapper table, in-place mode as pvmove
ranges, in any order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lvpack_agent.errors import Failed
from lvpack_agent.layout import LogicalVolume, Range, Segment, VolumeGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """count extents of a PV, all of one segment, go from extent source to target; they stay where both are equal."""

    pv: str
    source: int
    target: int
    count: int

    @property
    def stays(self) -> bool:
        return self.source == self.target

    def reversed(self) -> "Move":
        """Return the move that takes it back."""
        return replace(self, source=self.target, target=self.source)


def truncated(lv: LogicalVolume, extents: int) -> LogicalVolume:
    """Return the LV cut to its first extents, which must not be more than it has."""
    assert 0 < extents <= lv.extents, (lv.name, extents)
    kept = tuple(replace(s, count=min(s.count, extents - s.le)) for s in lv.segments if s.le < extents)
    return replace(lv, segments=kept)


def compact(vg: VolumeGroup) -> tuple[Move, ...]:
    """Return the moves that leave no hole on any PV, by source; each used extent is in exactly one of them."""
    moves: list[Move] = []
    for pv in vg.pvs:
        pieces = sorted((s for lv in vg.lvs for s in lv.segments if s.pv == pv.uuid), key=lambda s: s.pe)
        used = sum(p.count for p in pieces)
        holes: list[Range] = []
        beyond: list[Range] = []
        end = 0
        for piece in pieces:
            if piece.pe < end or piece.pe + piece.count > pv.extents:
                raise Failed(
                    f"cannot compact VG '{vg.name}': extent {piece.pe} of PV {pv.uuid} is used twice or does not exist",
                    hint="check the VG with vgck",
                )
            holes.append(Range(start=end, count=min(piece.pe, used) - end))
            end = piece.pe + piece.count
            staying = max(0, min(end, used) - piece.pe)
            if staying:
                moves.append(Move(pv=pv.uuid, source=piece.pe, target=piece.pe, count=staying))
            beyond.append(Range(start=piece.pe + staying, count=piece.count - staying))
        for source, target in _fill([h for h in holes if h.count > 0], [b for b in beyond if b.count > 0]):
            moves.append(Move(pv=pv.uuid, source=source.start, target=target, count=source.count))
    assert sum(m.count for m in moves) == sum(lv.extents for lv in vg.lvs)
    return tuple(sorted(moves, key=lambda m: (m.pv, m.source)))


def _fill(holes: list[Range], pieces: list[Range]) -> Iterator[tuple[Range, int]]:
    """Yield (range, first extent of its new place) until pieces and holes, which have the same sum, are used up.

    The largest piece goes into the smallest hole that takes it whole; if none does, it fills the largest one.
    """
    while pieces:
        piece = max(pieces, key=lambda p: (p.count, -p.start))
        fitting = [h for h in holes if h.count >= piece.count]
        hole = min(fitting, key=lambda h: (h.count, h.start)) if fitting else max(holes, key=lambda h: h.count)
        count = min(piece.count, hole.count)
        yield Range(start=piece.start, count=count), hole.start
        for ranges, taken in ((pieces, piece), (holes, hole)):
            ranges.remove(taken)
            if taken.count > count:
                ranges.append(Range(start=taken.start + count, count=taken.count - count))
    assert not holes


def relocated(vg: VolumeGroup, move: Move) -> VolumeGroup:
    """Return the VG after one move: segments are split at its ends, adjacent ones joined."""

    def split(s: Segment) -> Iterator[Segment]:
        cuts = [c for c in (move.source, move.source + move.count) if s.pv == move.pv and s.pe < c < s.pe + s.count]
        for first, last in zip([s.pe, *cuts], [*cuts, s.pe + s.count], strict=True):
            inside = s.pv == move.pv and move.source <= first < move.source + move.count
            pe = first - move.source + move.target if inside else first
            yield replace(s, le=s.le + first - s.pe, pe=pe, count=last - first)

    return replace(
        vg,
        lvs=tuple(replace(lv, segments=joined(p for s in lv.segments for p in split(s))) for lv in vg.lvs),
    )


def moved(vg: VolumeGroup, moves: tuple[Move, ...]) -> VolumeGroup:
    """Return the VG after all moves of its compaction: PVs are cut to what is used."""
    for move in moves:
        if not move.stays:
            vg = relocated(vg, move)
    used = {pv.uuid: sum(m.count for m in moves if m.pv == pv.uuid) for pv in vg.pvs}
    lvs = tuple(replace(lv, segments=joined(lv.segments)) for lv in vg.lvs)
    return replace(vg, lvs=lvs, pvs=tuple(replace(pv, extents=used[pv.uuid]) for pv in vg.pvs))


def joined(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return segments with those made one that follow each other in the LV and on the PV."""
    result: list[Segment] = []
    for s in segments:
        last = result[-1] if result else None
        if last and last.pv == s.pv and last.pe + last.count == s.pe:
            result[-1] = replace(last, count=last.count + s.count)
        else:
            result.append(s)
    return tuple(result)
