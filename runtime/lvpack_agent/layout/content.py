"""What a partition or an LV holds."""

from dataclasses import dataclass, field

from lvpack_agent.layout.ranges import Range

EXT_TYPES = ("ext2", "ext3", "ext4")
SUSPEND_TYPES = ("swsuspend",)
PV_TYPE = "LVM2_member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a partition or LV holds, as blkid(8) names it; type "" is nothing that it knows.

    size is what the filesystem or swap area claims for itself (0: not known) and block_size its block or page size.
    minimum is the size that its files need, by resize2fs's estimate or lvpack's of an XFS, None if it keeps its size.
    Of ext2/3/4, free are the ranges of unused blocks and tables those of inode tables (in blocks). rebuilt are the
    bytes that making an XFS anew writes; 0 for all others.
    """

    type: str = ""
    uuid: str = ""
    label: str = ""
    size: int = 0
    block_size: int = 0
    minimum: int | None = field(default=None, compare=False)
    free: tuple[Range, ...] = field(default=(), compare=False, repr=False, metadata={"json": False})
    tables: tuple[Range, ...] = field(default=(), compare=False, repr=False, metadata={"json": False})
    rebuilt: int = field(default=0, compare=False, metadata={"json": False})

    @property
    def is_ext(self) -> bool:
        return self.type in EXT_TYPES

    def used_beyond(self, end: int) -> int:
        """Return the bytes of an ext filesystem at and after the byte offset end that a shrink to it has to move.

        Those are what its block bitmap has as used but for inode tables, which go with their groups.
        """
        first = end // self.block_size
        total = max(0, self.size // self.block_size - first)
        at = first
        for part in sorted((*self.free, *self.tables), key=lambda r: r.start):
            count = max(0, part.end - max(part.start, at))
            at = max(at, part.end)
            total -= count
        return total * self.block_size


# What nobody has looked at.
UNKNOWN = Content()
