"""Compaction: the extents of a PV moved to its start, by arithmetic alone.

Ranges keep their physical order and slide down, so each goes to a lower or the same place: overlay mode renders the
result as a device-mapper table, in-place mode can reach the very same layout with pvmove and moves the least.
"""

from dataclasses import dataclass, replace

from lvpack_agent.errors import Failed
from lvpack_agent.layout import LogicalVolume, Segment, VolumeGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """count extents of a PV go from extent source to extent target; they stay where both are equal."""

    pv: str
    source: int
    target: int
    count: int


def truncated(lv: LogicalVolume, extents: int) -> LogicalVolume:
    """Return the LV cut to its first extents, which must not be more than it has."""
    assert 0 < extents <= lv.extents, (lv.name, extents)
    kept = tuple(replace(s, count=min(s.count, extents - s.le)) for s in lv.segments if s.le < extents)
    return replace(lv, segments=kept)


def compact(vg: VolumeGroup) -> tuple[Move, ...]:
    """Return the moves that leave no hole on any PV, in physical order; each used extent is in exactly one of them."""
    moves: list[Move] = []
    for pv in vg.pvs:
        pieces = sorted((s for lv in vg.lvs for s in lv.segments if s.pv == pv.uuid), key=lambda s: s.pe)
        free = end = 0
        for piece in pieces:
            if piece.pe < end or piece.pe + piece.count > pv.extents:
                raise Failed(
                    f"cannot compact VG '{vg.name}': extent {piece.pe} of PV {pv.uuid} is used twice or does not exist",
                    hint="check the VG with vgck",
                )
            end = piece.pe + piece.count
            last = moves[-1] if moves else None
            if last and last.pv == pv.uuid and last.source + last.count == piece.pe:
                moves[-1] = replace(last, count=last.count + piece.count)
            else:
                moves.append(Move(pv=pv.uuid, source=piece.pe, target=free, count=piece.count))
            free += piece.count
    assert sum(m.count for m in moves) == sum(lv.extents for lv in vg.lvs)
    return tuple(moves)


def moved(vg: VolumeGroup, moves: tuple[Move, ...]) -> VolumeGroup:
    """Return the VG after the moves: segments at their new places, adjacent ones joined, PVs cut to what is used."""

    def place(s: Segment) -> Segment:
        move = next(m for m in moves if m.pv == s.pv and m.source <= s.pe < m.source + m.count)
        return replace(s, pe=s.pe - move.source + move.target)

    lvs = tuple(replace(lv, segments=_joined(tuple(place(s) for s in lv.segments))) for lv in vg.lvs)
    used = {pv.uuid: sum(m.count for m in moves if m.pv == pv.uuid) for pv in vg.pvs}
    pvs = tuple(replace(pv, extents=used[pv.uuid]) for pv in vg.pvs)
    return replace(vg, lvs=lvs, pvs=pvs)


def _joined(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    result: list[Segment] = []
    for s in segments:
        last = result[-1] if result else None
        if last and last.pv == s.pv and last.pe + last.count == s.pe:
            result[-1] = replace(last, count=last.count + s.count)
        else:
            result.append(s)
    return tuple(result)
