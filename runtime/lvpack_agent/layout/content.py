"""What a partition or an LV holds."""

from dataclasses import dataclass, field

from lvpack_agent.layout.ranges import Range

EXT_TYPES = ("ext2", "ext3", "ext4")
SUSPEND_TYPES = ("swsuspend",)
PV_TYPE = "LVM2_member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a partition or LV holds, as blkid(8) names it; type "" means that blkid recognises nothing.

    size is what the filesystem or swap area claims for itself (0: not known), block_size its block or page size, both
    in bytes. minimum is the size that its files need, as resize2fs, or lvpack for XFS, estimates it; None if it keeps
    its size. groups are the allocation groups of an XFS, group the bytes of each but the last, by its superblock; 0 if
    that is not known. For ext2/3/4, free has the ranges of unused blocks, and tables those of the inode tables, both in
    blocks. rebuilt is how many bytes making an XFS anew writes; 0 for all others.
    """

    type: str = ""
    uuid: str = ""
    label: str = ""
    size: int = 0
    block_size: int = 0
    minimum: int | None = field(default=None, compare=False)
    groups: int = field(default=0, compare=False, metadata={"unless": 0})
    group: int = field(default=0, compare=False, metadata={"unless": 0})
    free: tuple[Range, ...] = field(default=(), compare=False, repr=False, metadata={"json": False})
    tables: tuple[Range, ...] = field(default=(), compare=False, repr=False, metadata={"json": False})
    rebuilt: int = field(default=0, compare=False, metadata={"json": False})

    @property
    def is_ext(self) -> bool:
        """Whether this is ext2, ext3 or ext4."""
        return self.type in EXT_TYPES

    def used_beyond(self, end: int) -> int:
        """Return how many bytes of an ext filesystem a shrink to end, a byte offset, has to move.

        These are the blocks from there on that the block bitmap marks as used. Inode tables do not count: they vanish
        with their block groups.
        """
        first = end // self.block_size
        total = max(0, self.size // self.block_size - first)
        at = first
        for part in sorted((*self.free, *self.tables), key=lambda r: r.start):
            count = max(0, part.end - max(part.start, at))
            at = max(at, part.end)
            total -= count
        return total * self.block_size


# The content of a volume that nobody has looked at.
UNKNOWN = Content()
