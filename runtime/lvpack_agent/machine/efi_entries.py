"""Boot entries of UEFI firmware, as values.

Their formats are the UEFI specification's (2.10): load options 3.1.3, boot variables 3.3, device paths 10.3.
"""

import re
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lvpack_agent.errors import understood
from lvpack_agent.layout.disks import PartitionTable

# The type of an EFI system partition, as sfdisk(8) prints it, of GPT and of msdos.
_ESP_TYPES = {"gpt": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "dos": "ef"}
_ACTIVE = 0x01
# A load option's category: 0 is for booting, 1 an application such as the firmware's setup (3.1.3).
_CATEGORY = 0x1F00
# Of what FAT excludes from names, that which means something elsewhere, and control characters.
_NOT_IN_FAT = re.compile(r"[/:\0-\x1f\x7f]")
# Device path nodes as (type, subtype).
_END, _PCI, _SATA, _HARD_DRIVE, _FILE = 0x7F, (1, 1), (3, 18), (4, 1), (4, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A boot entry: its number, its title, and what it boots from, which is named in one of two ways.

    partition is a PARTUUID as lsblk(8) prints it. Or place is where a whole disk is attached: (device, function) of
    each PCI bridge on the way and of the controller, then the port of a SATA controller. Both are empty for other
    entries, such as the firmware's own programs. loader and data are those of a Loader (its path and data).
    """

    number: int
    active: bool
    title: str
    place: tuple[tuple[int, ...], ...] = ()
    partition: str = ""
    loader: str = ""
    data: str = ""

    def __str__(self) -> str:
        return f"Boot{self.number:04X} '{self.title}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """What a boot entry starts: its title, the number of a partition and the loader's path on it, with backslashes.

    data is what else the entry has for the loader to read, in hexadecimal.
    """

    title: str
    partition: int
    path: str
    data: str = ""

    def __str__(self) -> str:
        return f"{self.path} on partition {self.partition}"

    def starts_as(self, other: "Loader") -> bool:
        """Return whether both start the same file with the same data; case does not matter in FAT paths."""
        mine, its = ((x.partition, x.path.lower(), x.data) for x in (self, other))
        return mine == its


def parse_entry(number: int, value: bytes) -> Entry:
    """Read a load option. Raises ValueError if it is cut off."""
    try:
        attributes, paths = struct.unpack_from("<IH", value)
        end = next(i for i in range(6, len(value) - 1, 2) if value[i : i + 2] == b"\0\0")
    except (struct.error, StopIteration):
        raise ValueError(f"Boot{number:04X} is no load option") from None
    nodes = tuple(_nodes(value[end + 2 : end + 2 + paths]))
    partition = next((_partition(data) for kind, data in nodes if kind == _HARD_DRIVE), "")
    return Entry(
        number=number,
        active=bool(attributes & _ACTIVE) and not attributes & _CATEGORY,
        title=value[6:end].decode("utf-16-le", errors="replace"),
        place=() if partition else tuple(filter(None, (_place(*node) for node in nodes))),
        partition=partition,
        loader=_path([data for kind, data in nodes if kind == _FILE]),
        data=value[end + 2 + paths :].hex(),
    )


def _nodes(path: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    while at + 4 <= len(path):
        kind, subtype, length = struct.unpack_from("<BBH", path, at)
        if kind == _END or length < 4:
            return
        yield (kind, subtype), path[at + 4 : at + length]
        at += length


def _place(kind: tuple[int, int], node: bytes) -> tuple[int, ...]:
    if kind == _PCI and len(node) == 2:  # 10.3.2.1
        function, device = node
        return device, function
    if kind == _SATA and len(node) >= 2:  # 10.3.4.16
        return (int.from_bytes(node[:2], "little"),)
    return ()


def _partition(node: bytes) -> str:
    """Return the PARTUUID of a hard drive node (10.3.5.1): number, start, size, signature, formats of both."""
    try:
        number, _, _, signature, _, kind = struct.unpack_from("<IQQ16sBB", node)
    except struct.error:
        return ""
    if kind == 2:
        return str(uuid.UUID(bytes_le=signature))
    if kind == 1:
        return f"{int.from_bytes(signature[:4], 'little'):08x}-{number:02x}"
    return ""


def _path(nodes: Sequence[bytes]) -> str:
    """Return the path of file nodes (10.3.5.4), each a part of it that ends with a zero."""
    texts = [node.decode("utf-16-le", errors="replace").partition("\0")[0] for node in nodes]
    return "".join("\\" + part for text in texts for part in text.split("\\") if part)


def astray(path: str) -> str:
    r"""Return why a loader's path is none on its partition, e.g. "it leaves the partition by '..'"; "" if it is one.

    A path is \EFI\debian\shimx64.efi: names as FAT has them, each after one backslash (UEFI 2.10, 10.3.5.4).
    """
    first, *parts = path.split("\\")
    if first or not parts:
        return "it does not begin with a backslash" if ":" not in first else "it begins with a drive"
    for part in parts:
        if part in (".", ".."):
            return f"it leaves the partition by '{part}'"
        if not part:
            return "a part of it is empty"
        if strange := _NOT_IN_FAT.search(part):
            return f"{strange[0]!a} is in no name on an EFI system partition"
    return ""


def parse_numbers(value: bytes) -> tuple[int, ...]:
    """Read BootOrder, BootCurrent or BootNext."""
    return struct.unpack(f"<{len(value) // 2}H", value[: len(value) // 2 * 2])


@understood("the identifier of the partition table")
def part_uuids(table: PartitionTable) -> dict[str, int]:
    """Return the numbers of a table's partitions by their PARTUUIDs, as lsblk(8) prints these.

    Raises Failed if an msdos table has an identifier that is none.
    """
    if table.label == "gpt":
        return {p.uuid.lower(): p.number for p in table.partitions}
    return {f"{int(table.id, 16):08x}-{p.number:02x}": p.number for p in table.partitions if table.label == "dos"}


def loaders(entries: Iterable[Entry], table: PartitionTable) -> tuple[Loader, ...]:
    """Return what active entries start on the partitions of a table, in the order of the entries."""
    numbers = part_uuids(table)
    return tuple(
        Loader(title=e.title, partition=numbers[e.partition], path=e.loader, data=e.data)
        for e in entries
        if e.active and e.loader and e.partition in numbers
    )


def esps(table: PartitionTable) -> list[int]:
    """Return the numbers of the EFI system partitions (ESP) of a table."""
    return [p.number for p in table.partitions if p.type.lower() == _ESP_TYPES.get(table.label, "").lower()]
