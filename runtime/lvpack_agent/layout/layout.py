"""What is on the disks: values only, no process, no file.

Sizes and offsets are bytes, extents are counted from 0. Facts that say where and on which machine something was
found, rather than what it is, do not take part in comparisons: a packed disk equals its plan under any device name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lvpack_agent.sizes import MIB, round_up

EXT_TYPES = ("ext2", "ext3", "ext4")
SUSPEND_TYPES = ("swsuspend",)
PV_TYPE = "LVM2_member"
# Types of an extended partition of an msdos table: CHS, LBA, Linux.
EXTENDED_TYPES = (0x05, 0x0F, 0x85)
LARGEST_SECTOR = 4096


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
    """A whole disk; table is None if there is no partition table that sfdisk(8) knows.

    content is what such a disk holds then, if it is no PV.
    """

    path: str = field(compare=False)
    size: int
    sector_size: int
    table: PartitionTable | None
    content: Content = Content()
    model: str = field(default="", compare=False)
    serial: str = field(default="", compare=False)
    wwn: str = field(default="", compare=False)

    @property
    def rows(self) -> tuple[Partition, ...]:
        """The partitions, none if there is no table."""
        return self.table.partitions if self.table else ()

    @property
    def extended(self) -> Partition | None:
        """The extended partition of an msdos table."""
        return self.table.extended if self.table else None

    def places(self) -> list[tuple[int, Range, Content]]:
        """Return number, place in bytes and content of each partition; of a disk without a table, its own: number 0."""
        if self.table is None:
            return [(0, Range(start=0, count=self.size), self.content)]
        return [(row.number, Range(start=row.start, count=row.size), row.content) for row in self.rows]

    def start_of(self, number: int) -> int:
        """Return the byte where a partition begins; 0 is the whole disk."""
        if not number:
            return 0
        assert self.table is not None
        return self.table.partition(number).start

    def in_order(self) -> list[Partition]:
        """Return the partitions by place, without the extended one, which only holds others."""
        return sorted((row for row in self.rows if row is not self.extended), key=lambda row: row.start)


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

    def piece(self, offset: int, length: int, areas: Sequence[Area]) -> "Segment":
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
class LogicalVolume:
    name: str
    uuid: str
    segments: tuple[Segment, ...]
    content: Content = Content()

    @property
    def extents(self) -> int:
        return sum(s.count for s in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataArea:
    """A place for a VG's metadata on a PV; start (from the PV's own) and size in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """A PV by its UUID; disk is an index into Layout.disks, partition a number there; extent 0 is at byte pe_start.

    Partition 0 is the whole disk; size is the least that it needs then, however large the disk is. metadata_areas are
    the places for the VG's metadata (pvcreate(8), --pvmetadatacopies): none, one before extent 0, another at the end;
    area_size is that of the smaller one, 0 if there is none. second_area is where the second one is, if that is known.
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
        """The bytes after the last extent, for a second metadata area, in whole sectors of any disk."""
        return self.area_size // LARGEST_SECTOR * LARGEST_SECTOR if self.metadata_areas > 1 else 0

    def least_size(self, extent_size: int) -> int:
        """Return the bytes that it needs for its extents and its metadata."""
        return self._tail_start(extent_size) + self.tail

    def _tail_start(self, extent_size: int) -> int:
        """Return the byte after the last extent, or after it that of the second metadata area.

        LVM writes an area together with what is before it in the same 128 KiB (LVM2: lib/label/label.c), as it read
        that some time before: no extent may be there. It aligns the areas that it makes as it aligns extents, to a MiB.
        """
        end = self.pe_start + self.extents * extent_size
        if not self.tail:
            return end
        aligned = round_up(end, MIB)
        # Where an area stands already there is room for it.
        return self.second_area.start if self.second_area and end <= self.second_area.start < aligned else aligned

    def ending_early(self, extent_size: int) -> "PhysicalVolume":
        """Return it with its second metadata area right after its extents, and nothing after that."""
        size = self.least_size(extent_size)
        area = MetadataArea(start=size - self.tail, size=self.tail) if self.tail else None
        return replace(self, size=size, second_area=area)


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

    def first_extent(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where a PV's extent 0 begins."""
        return self.pv_start(pv) + pv.pe_start

    def partition_name(self, disk: int, number: int) -> str:
        """Return what people call a partition; the first disk's go without saying."""
        where = f"disk {self.disks[disk].path}"
        if not number:
            return where
        return f"partition {number}" + (f" of {where}" if disk else "")

    def pv_start(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where a PV begins."""
        return self.disks[pv.disk].start_of(pv.partition)

    def pv_end(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where the partition of a PV ends, or the disk that it is."""
        disk = self.disks[pv.disk]
        return disk.table.partition(pv.partition).end if disk.table else disk.size


def by_place(vgs: Iterable[VolumeGroup]) -> tuple[VolumeGroup, ...]:
    """Return VGs in the order of their first PVs; LVM reports them in any order."""
    return tuple(sorted(vgs, key=lambda vg: min((pv.disk, pv.partition) for pv in vg.pvs)))


def with_partition(disk: Disk, partition: Partition) -> Disk:
    """Return the disk with the partition of that number replaced."""
    assert disk.table is not None
    rows = tuple(partition if p.number == partition.number else p for p in disk.table.partitions)
    return replace(disk, table=replace(disk.table, partitions=rows))


def differences(expected: object, found: object, where: str = "") -> list[str]:
    """Return one line for each value in which two layouts differ, e.g. `vgs[0].lvs[2].segments[0].pe: 5, found 7`.

    The size of a content that one of them does not know is no difference: image sets of before had none of XFS.
    """
    from dataclasses import fields, is_dataclass

    if isinstance(expected, Content) and isinstance(found, Content) and not expected.size * found.size:
        expected, found = (replace(content, size=0, block_size=0) for content in (expected, found))
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
