"""What is on the disks: values only, no process, no file.

Sizes and offsets are bytes, extents are counted from 0. Facts that say where and on which machine something was
found, rather than what it is, do not take part in comparisons: a packed disk equals its plan under any device name.
"""

from dataclasses import dataclass, field, replace

EXT_TYPES = ("ext2", "ext3", "ext4")
SUSPEND_TYPES = ("swsuspend",)
PV_TYPE = "LVM2_member"
# Types of an extended partition of an msdos table: CHS, LBA, Linux.
EXTENDED_TYPES = (0x05, 0x0F, 0x85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Blocks, extents or bytes from start on; count of them."""

    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a partition or LV holds, as blkid(8) names it; type "" is nothing that it knows.

    size is what the filesystem or swap area claims for itself (0: not known) and block_size its block or page size.
    minimum is resize2fs's estimate; free are the ranges of unused blocks (in blocks). Both are None or empty unless
    it is ext2/3/4.
    """

    type: str = ""
    uuid: str = ""
    label: str = ""
    size: int = 0
    block_size: int = 0
    minimum: int | None = field(default=None, compare=False)
    free: tuple[Range, ...] = field(default=(), compare=False, repr=False, metadata={"json": False})

    @property
    def is_ext(self) -> bool:
        return self.type in EXT_TYPES

    def used_beyond(self, end: int) -> int:
        """Return the used bytes of an ext filesystem at and after the byte offset end, from its block bitmap."""
        first = end // self.block_size
        total = max(0, self.size // self.block_size - first)
        free = sum(r.end - max(r.start, first) for r in self.free if r.end > first)
        return (total - free) * self.block_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A row of a partition table; uuid, name and attributes are GPT's, "" for msdos."""

    number: int
    start: int
    size: int
    type: str
    uuid: str = ""
    name: str = ""
    attributes: str = ""
    bootable: bool = False
    content: Content = Content()

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    """label is dos or gpt; id the disk's signature or GUID.

    first_sector and last_sector are the ends of what GPT lets partitions use; the last depends on the disk's size.
    """

    label: str
    id: str
    partitions: tuple[Partition, ...]
    first_sector: int | None = None
    last_sector: int | None = field(default=None, compare=False)

    def bare(self) -> "PartitionTable":
        """Return the table as it stands on the disk, without what its partitions hold."""
        return replace(self, partitions=tuple(replace(p, content=Content()) for p in self.partitions))

    def partition(self, number: int) -> Partition:
        return next(p for p in self.partitions if p.number == number)

    @property
    def extended(self) -> Partition | None:
        """The extended partition, a container of the logical ones, which have numbers from 5 on."""
        found = [p for p in self.partitions if self.label == "dos" and int(p.type, 16) in EXTENDED_TYPES]
        return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A whole disk; table is None if there is no partition table that sfdisk(8) knows."""

    path: str = field(compare=False)
    size: int
    sector_size: int
    table: PartitionTable | None
    model: str = field(default="", compare=False)
    serial: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A linear piece of an LV: its extents from le on are the PV's extents from pe on, count of them."""

    le: int
    pv: str
    pe: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    name: str
    uuid: str
    segments: tuple[Segment, ...]
    content: Content = Content()

    @property
    def extents(self) -> int:
        return sum(s.count for s in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """A PV by its UUID; disk is an index into Layout.disks, partition a number there; extent 0 is at byte pe_start."""

    uuid: str
    disk: int
    partition: int
    size: int
    pe_start: int
    extents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    name: str
    uuid: str
    extent_size: int
    pvs: tuple[PhysicalVolume, ...]
    lvs: tuple[LogicalVolume, ...]

    def pv(self, uuid: str) -> PhysicalVolume:
        return next(pv for pv in self.pvs if pv.uuid == uuid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The disks of one server and the VGs on them."""

    disks: tuple[Disk, ...]
    vgs: tuple[VolumeGroup, ...]

    def pv_partition(self, pv: PhysicalVolume) -> Partition:
        table = self.disks[pv.disk].table
        assert table is not None
        return table.partition(pv.partition)


def with_partition(disk: Disk, partition: Partition) -> Disk:
    """Return the disk with the partition of that number replaced."""
    assert disk.table is not None
    rows = tuple(partition if p.number == partition.number else p for p in disk.table.partitions)
    return replace(disk, table=replace(disk.table, partitions=rows))


def differences(expected: object, found: object, where: str = "") -> list[str]:
    """Return one line for each value in which two layouts differ, e.g. `vgs[0].lvs[2].segments[0].pe: 5, found 7`."""
    from dataclasses import fields, is_dataclass

    if is_dataclass(expected) and type(expected) is type(found):
        return [
            line
            for f in fields(expected)
            if f.compare
            for line in differences(getattr(expected, f.name), getattr(found, f.name), f"{where}.{f.name}".strip("."))
        ]
    if isinstance(expected, tuple) and isinstance(found, tuple) and len(expected) == len(found):
        return [
            line
            for i, (e, f) in enumerate(zip(expected, found, strict=True))
            for line in differences(e, f, f"{where}[{i}]")
        ]
    return [] if expected == found else [f"{where}: {expected}, found {found}"]
