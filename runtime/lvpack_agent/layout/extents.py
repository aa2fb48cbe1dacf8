"""Extents: areas and segments of LVs, and the moves by which compaction joins them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Where extents of a segment begin: extent pe of a PV, which is named by its UUID."""

    pv: str
    pe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """count extents of an LV from le on. A linear one's are the PV's extents from pe on.

    A striped one has others beside that place: its bytes go round all of them, stripe_size of them at a time, and each
    has as many of its extents.
    """

    le: int
    pv: str
    pe: int
    count: int
    others: tuple[Area, ...] = ()
    stripe_size: int = 0

    @property
    def areas(self) -> tuple[Area, ...]:
        return (Area(pv=self.pv, pe=self.pe), *self.others)

    @property
    def length(self) -> int:
        """The extents of each area."""
        return self.count // len(self.areas)

    def part(self, offset: int, length: int, areas: Sequence[Area]) -> "Segment":
        """Return the part of this segment from an offset in each area on, length of each, which begins at areas."""
        first, *others = areas
        stripes = len(self.areas)
        return replace(
            self,
            le=self.le + offset * stripes,
            pv=first.pv,
            pe=first.pe,
            count=length * stripes,
            others=tuple(others),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """count extents of a PV, all of one area of a segment, go from extent source to target; to: of another PV.

    They stay where both are equal.
    """

    pv: str
    source: int
    target: int
    count: int
    to: str = ""

    @property
    def home(self) -> str:
        """The UUID of the PV that has them then."""
        return self.to or self.pv

    @property
    def stays(self) -> bool:
        return not self.to and self.source == self.target

    def reversed(self) -> "Move":
        """Return the move that takes it back."""
        return replace(self, pv=self.home, source=self.target, target=self.source, to=self.pv if self.to else "")


def joined_segments(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return segments with those made one that follow each other in the LV and on the PV."""
    result: list[Segment] = []
    for s in segments:
        last = result[-1] if result else None
        if (
            last
            and last.stripe_size == s.stripe_size
            and s.areas == tuple(replace(area, pe=area.pe + last.length) for area in last.areas)
        ):
            result[-1] = replace(last, count=last.count + s.count)
        else:
            result.append(s)
    return tuple(result)
