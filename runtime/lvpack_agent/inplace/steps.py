"""The steps of an in-place run, each small enough to be done again after a power loss. Values only.

str() of a step is what the console says before it is done. LVs go by their UUIDs, extents are counted, as LVM does;
name is for messages.
"""

from dataclasses import dataclass

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm.tags import TAG
from lvpack_agent.sizes import human


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeFilesystem:
    """Check an ext filesystem and resize it to new.size bytes in a persistent snapshot, which is then merged.

    The filesystem is that of an LV, or, if lv is "", of the partition with that number.
    """

    name: str
    lv: str = ""
    partition: int = 0
    old: Content
    new: Content

    def __str__(self) -> str:
        if self.old.size == self.new.size:
            return f"repair {self.name}"
        return f"resize {self.name} from {human(self.old.size)} to {human(self.new.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeSwap:
    """Make the swap area of an LV anew, of new.size bytes; it keeps its UUID and label."""

    name: str
    lv: str
    new: Content

    def __str__(self) -> str:
        return f"swap {self.name} of {human(self.new.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkVg:
    """Tag the VG, or untag it: while it has the tag, its filesystems may be half merged, and nobody packs it."""

    on: bool

    def __str__(self) -> str:
        return f"{'mark' if self.on else 'unmark'} the VG (tag {TAG})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceLv:
    """Cut an LV to its first extents; content is the filesystem or swap area that must fit on them."""

    name: str
    lv: str
    extents: int
    content: Content

    def __str__(self) -> str:
        return f"reduce {self.name} to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLv:
    """Give an LV one more segment at its end, linear or striped, on the extents that the segment names."""

    name: str
    lv: str
    segment: Segment

    def __str__(self) -> str:
        return f"extend {self.name} by {_extents(self.segment.count)} at {self.segment.pe}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveExtents:
    """Move extents of one segment by one pvmove(8)."""

    move: Move

    def __str__(self) -> str:
        return f"move {_extents(self.move.count)} from {self.move.source} to {self.move.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveArea:
    """Take the second metadata area of the PV out of its label: pvresize(8) does not move it safely (lvm.pvlabel)."""

    def __str__(self) -> str:
        return "remove-area: the PV's second metadata area"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddArea:
    """Give the PV a second metadata area, which gets a copy of what is in the first."""

    area: MetadataArea

    def __str__(self) -> str:
        return f"add-area: a second metadata area of {human(self.area.size)} at byte {self.area.start:,} of the PV"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePv:
    """Let the PV end after this number of extents, by pvresize(8)."""

    extents: int

    def __str__(self) -> str:
        return f"resize-pv to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTable:
    """Write a partition table as for a disk of size bytes."""

    table: PartitionTable
    size: int

    def __str__(self) -> str:
        return f"table for a disk of {human(self.size)}"


def _extents(count: int) -> str:
    return f"{count} extent{'' if count == 1 else 's'}"


# The steps that are done with the partitions and LVs open.
VolumeStep = MarkVg | ResizeFilesystem | MakeSwap | ReduceLv | ExtendLv | MoveExtents | RemoveArea | ResizePv | AddArea
Step = VolumeStep | WriteTable
