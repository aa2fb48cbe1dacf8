"""Disks, their partition tables and partitions."""

from dataclasses import dataclass, field, replace

from lvpack_agent.layout.content import UNKNOWN, Content
from lvpack_agent.layout.ranges import Range

# Types of an extended partition of an msdos table: CHS, LBA, Linux.
EXTENDED_TYPES = (0x05, 0x0F, 0x85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition; start and size in bytes. uuid, name and attributes are GPT's, and "" for msdos."""

    number: int
    start: int
    size: int
    type: str
    uuid: str = ""
    name: str = ""
    attributes: str = ""
    bootable: bool = False
    content: Content = UNKNOWN

    @property
    def end(self) -> int:
        """The first byte after the partition."""
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
        """Return the partition of that number, which must exist."""
        return next(p for p in self.partitions if p.number == number)

    @property
    def extended(self) -> Partition | None:
        """The extended partition, a container of the logical ones, which have numbers from 5 on."""
        found = [p for p in self.partitions if self.label == "dos" and int(p.type, 16) in EXTENDED_TYPES]
        return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A whole disk; sizes in bytes. table is None if sfdisk(8) finds no partition table that it knows.

    content is what a disk without a table holds, unless it is a PV.
    """

    path: str = field(compare=False)
    size: int
    sector_size: int
    table: PartitionTable | None
    content: Content = UNKNOWN
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
        """Return number, range in bytes and content of each partition; a disk without a table is one, number 0."""
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
