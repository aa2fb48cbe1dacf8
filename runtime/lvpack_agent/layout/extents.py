"""Extents: areas and segments of LVs, and the moves by which compaction joins them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A place where extents of a segment begin: extent pe of a PV, which is named by its UUID."""

    pv: str
    pe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """count extents of an LV, from its extent le on. A linear segment lies on a PV, from the PV's extent pe on.

    A striped segment has more areas, others, of the same length. Its bytes go to all areas in turn, stripe_size bytes
    at a time.
    """

    le: int
    pv: str
    pe: int
    count: int
    others: tuple[Area, ...] = ()
    stripe_size: int = 0

    @property
    def areas(self) -> tuple[Area, ...]:
        """All areas of the segment, in the order of its stripes; a linear one has one."""
        return (Area(pv=self.pv, pe=self.pe), *self.others)

    @property
    def length(self) -> int:
        """The extents of each area."""
        return self.count // len(self.areas)

    def part(self, offset: int, length: int, areas: Sequence[Area]) -> "Segment":
        """Return a part of this segment at other places: length extents of each area from offset on, now at areas."""
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
    """count extents of a PV, all of one area of a segment, go from extent source to extent target.

    to is the UUID of the PV that gets them, "" if they stay on theirs; if source and target are equal too, they stay
    where they are.
    """

    pv: str
    source: int
    target: int
    count: int
    to: str = ""

    @property
    def home(self) -> str:
        """The UUID of the PV that has the extents after the move."""
        return self.to or self.pv

    @property
    def stays(self) -> bool:
        """Whether the extents stay where they are."""
        return not self.to and self.source == self.target

    def reversed(self) -> "Move":
        """Return the move that takes the extents back."""
        return replace(self, pv=self.home, source=self.target, target=self.source, to=self.pv if self.to else "")


def joined_segments(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return the segments; those that follow each other in the LV and on the PV are joined into one."""
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
