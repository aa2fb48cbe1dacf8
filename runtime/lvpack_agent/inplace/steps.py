"""The steps of an in-place run, each small enough to be done again after a power loss. Values only."""

from dataclasses import dataclass

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm.tags import TAG
from lvpack_agent.sizes import human


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeFilesystem:
    """Check an ext filesystem and resize it to new.size on a persistent snapshot, which is then merged.

    It is that of LV lv (a UUID), or of a partition (a number) if lv is "".
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
    """Make the swap area of an LV anew, with its UUID and label."""

    name: str
    lv: str
    new: Content

    def __str__(self) -> str:
        return f"swap {self.name} of {human(self.new.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkVg:
    """Tag the VG while its filesystems may be half merged, so that nobody packs them without the journal."""

    on: bool

    def __str__(self) -> str:
        return f"{'mark' if self.on else 'unmark'} the VG (tag {TAG})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceLv:
    """Cut an LV to its first extents; content is what must be on them."""

    name: str
    lv: str
    extents: int
    content: Content

    def __str__(self) -> str:
        return f"reduce {self.name} to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLv:
    """Give an LV a segment at its end, linear or striped, on just these extents of the PV."""

    name: str
    lv: str
    segment: Segment

    def __str__(self) -> str:
        return f"extend {self.name} by {_extents(self.segment.count)} at {self.segment.pe}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveExtents:
    """Move extents that belong to one segment, by one pvmove."""

    move: Move

    def __str__(self) -> str:
        return f"move {_extents(self.move.count)} from {self.move.source} to {self.move.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveArea:
    """Take the second metadata area of the PV out of its label: pvresize does not move it safely (pvlabel)."""

    def __str__(self) -> str:
        return "remove-area: the PV's second metadata area"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddArea:
    """Give the PV a second metadata area, with a copy of what the first has."""

    area: MetadataArea

    def __str__(self) -> str:
        return f"add-area: a second metadata area of {human(self.area.size)} at byte {self.area.start:,} of the PV"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePv:
    """Let the PV end after this number of extents."""

    extents: int

    def __str__(self) -> str:
        return f"resize-pv to {_extents(self.extents)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTable:
    """Write the partition table for a disk that ends at size bytes."""

    table: PartitionTable
    size: int

    def __str__(self) -> str:
        return f"table for a disk of {human(self.size)}"


def _extents(count: int) -> str:
    return f"{count} extent{'' if count == 1 else 's'}"


Step = (
    MarkVg
    | ResizeFilesystem
    | MakeSwap
    | ReduceLv
    | ExtendLv
    | MoveExtents
    | RemoveArea
    | ResizePv
    | AddArea
    | WriteTable
)
