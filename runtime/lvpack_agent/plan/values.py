"""A plan as a value: what a layout becomes, and the rows of its table."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume

# GRUB manual, "BIOS installation": the type of the partition of a GPT that has what an msdos disk has in its gap.
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"

# The verb of rows whose object is not on the packed disk.
LEAVE_OUT = "leave out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the plan: what happens to what, its size before and after in bytes, and why."""

    verb: str
    object: str
    type: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """size bytes of the packed disk: those of a source disk (its index) from offset on, or zeros if disk is None."""

    size: int
    disk: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """From source to target; store is the estimate in bytes of what the copy-on-write store takes.

    The target's disks are the packed ones: what becomes of the first disks of the source, in their order. The other
    disks of the source are collapsed into the first. moves has the moves of all PVs.
    """

    source: Layout
    target: Layout
    # Image sets have the rows under the name that they had first.
    rows: tuple[Row, ...] = field(metadata={"name": "steps"})
    moves: tuple[Move, ...]
    store: int

    @property
    def packed_size(self) -> int:
        """The bytes of all packed disks."""
        return sum(disk.size for disk in self.target.disks)

    @property
    def moving(self) -> int:
        """The bytes that compaction moves in in-place mode."""
        return sum(m.count for m in self.moves if not m.stays) * self.source.vgs[0].extent_size

    def lvs(self) -> Iterator[tuple[LogicalVolume, LogicalVolume]]:
        """Yield each LV as it is and as it will be."""
        for old, new in zip(self.source.vgs, self.target.vgs, strict=True):
            yield from zip(old.lvs, new.lvs, strict=True)

    def contradiction(self) -> str:
        """Return what makes this no plan at all, "" if nothing does: a plan that was read may say anything."""
        vgs = self.source.vgs, self.target.vgs
        if len(vgs[0]) != len(vgs[1]) or any(
            [lv.uuid for lv in old.lvs] != [lv.uuid for lv in new.lvs] for old, new in zip(*vgs, strict=True)
        ):
            return "its LVs are not those of the source"
        disks = self.source.disks, self.target.disks
        if len(disks[0]) < len(disks[1]) or any(
            [row.number for row in old.rows] != [row.number for row in new.rows]
            for old, new in zip(*disks, strict=False)
        ):
            return "its disks and partitions are not those of the source"
        return self.source.contradiction() or self.target.contradiction()

    def shrunk_lvs(self) -> frozenset[str]:
        """Return the UUIDs of the LVs that lose extents."""
        return frozenset(old.uuid for old, new in self.lvs() if new.extents < old.extents)

    def moved_boot_loaders(self) -> Iterator[str]:
        """Yield the names of BIOS boot partitions that move: GRUB looks for its second part there by sector number."""
        for index, packed in enumerate(self.target.disks):
            for old, new in zip(self.source.disks[index].rows, packed.rows, strict=True):
                if old.type.upper() == BIOS_BOOT and old.start != new.start:
                    yield self.source.partition_name(index, old.number)
