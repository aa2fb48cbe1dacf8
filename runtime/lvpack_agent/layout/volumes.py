"""VGs with their PVs and LVs."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lvpack_agent.layout.content import UNKNOWN, Content
from lvpack_agent.layout.extents import Segment
from lvpack_agent.sizes import MIB, round_down, round_up

LARGEST_SECTOR = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """An LV; its segments follow one another from its extent 0 on."""

    name: str
    uuid: str
    segments: tuple[Segment, ...]
    content: Content = UNKNOWN

    @property
    def extents(self) -> int:
        """The number of its extents."""
        return sum(s.count for s in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataArea:
    """A place for a VG's metadata on a PV; start, counted from where the PV begins, and size in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """A PV by its UUID; disk is an index into Layout.disks, partition a number there, 0 for the whole disk.

    size is in bytes; if the PV is a whole disk it is what the PV needs, however large the disk is. Extent 0 begins at
    byte pe_start. metadata_areas is the number of places for the VG's metadata (pvcreate(8), --pvmetadatacopies): 0, or
    1 before extent 0, or 2 with another one at the end. area_size is the size of the smaller one, 0 if there is none.
    second_area is where the second one is, if that is known.
    """

    uuid: str
    disk: int
    partition: int
    size: int
    pe_start: int
    extents: int
    metadata_areas: int = 1
    area_size: int = field(default=0, compare=False)
    second_area: MetadataArea | None = field(default=None, compare=False)

    @property
    def tail(self) -> int:
        """The bytes for a second metadata area after the last extent, in whole sectors of any size that disks have."""
        return round_down(self.area_size, LARGEST_SECTOR) if self.metadata_areas > 1 else 0

    def least_size(self, extent_size: int) -> int:
        """Return the bytes that the PV needs for its extents and its metadata."""
        return self._tail_start(extent_size) + self.tail

    def _tail_start(self, extent_size: int) -> int:
        """Return the byte where the second metadata area begins; without one, the byte after the last extent.

        LVM writes whole blocks of 128 KiB (LVM2: lib/label/label.c): with an area it writes back what stands before it
        in its first block, as it was read some time ago. So no extent may be in that block. LVM aligns the areas that
        it makes as it aligns extents, to a MiB.
        """
        end = self.pe_start + self.extents * extent_size
        if not self.tail:
            return end
        aligned = round_up(end, MIB)
        # Where an area stands already there is room for it.
        return self.second_area.start if self.second_area and end <= self.second_area.start < aligned else aligned

    def ending_early(self, extent_size: int) -> "PhysicalVolume":
        """Return the PV with its second metadata area right after its extents, and nothing after that."""
        size = self.least_size(extent_size)
        area = MetadataArea(start=size - self.tail, size=self.tail) if self.tail else None
        return replace(self, size=size, second_area=area)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    """A VG; extent_size in bytes."""

    name: str
    uuid: str
    extent_size: int
    pvs: tuple[PhysicalVolume, ...]
    lvs: tuple[LogicalVolume, ...]

    def pv(self, uuid: str) -> PhysicalVolume:
        """Return the PV of that UUID, which must exist."""
        return next(pv for pv in self.pvs if pv.uuid == uuid)


def by_place(vgs: Iterable[VolumeGroup]) -> tuple[VolumeGroup, ...]:
    """Return VGs in the order of their first PVs; LVM reports them in any order."""
    return tuple(sorted(vgs, key=lambda vg: min((pv.disk, pv.partition) for pv in vg.pvs)))
