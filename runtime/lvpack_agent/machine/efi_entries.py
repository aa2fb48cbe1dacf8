"""UEFI firmware: whether this machine booted by it, whether Secure Boot is on, which loaders it boots, and what next.

Variables are files of efivarfs: four bytes of attributes, then the value (kernel: filesystems/efivarfs.rst).
Their formats are the UEFI specification's (2.10): load options 3.1.3, boot variables 3.3, device paths 10.3.
"""

import re
import struct
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.devices import sfdisk
from lvpack_agent.errors import Failed, LvpackError
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.processes import run

FIRMWARE = Path("/sys/firmware/efi")
VARIABLES = FIRMWARE / "efivars"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Non-volatile, for boot services, at run time: what the specification gives BootNext (3.3, table of variables).
ATTRIBUTES = 7

# The type of an EFI system partition, as sfdisk(8) prints it, of GPT and of msdos.
_ESP_TYPES = {"gpt": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "dos": "ef"}
_ACTIVE = 0x01
# A load option's category: 0 is for booting, 1 an application such as the firmware's setup (3.1.3).
_CATEGORY = 0x1F00
# Device path nodes as (type, subtype).
_END, _PCI, _SATA, _HARD_DRIVE, _FILE = 0x7F, (1, 1), (3, 18), (4, 1), (4, 4)
_SYSFS_PCI = re.compile(r"/[0-9a-f]{4}:[0-9a-f]{2}:([0-9a-f]{2})\.([0-7])(?=/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """How this machine booted; secure_boot is None if the firmware has no Secure Boot, or does not say."""

    uefi: bool
    secure_boot: bool | None = None

    def __str__(self) -> str:
        if not self.uefi:
            return "BIOS"
        state = {True: "enabled", False: "disabled", None: "unknown"}[self.secure_boot]
        return f"UEFI, Secure Boot {state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A boot entry: its number, its name, and the disk that it names, which it does in one of two ways.

    partition is a PARTUUID as lsblk(8) prints it; else place is where the whole disk is attached: (device, function)
    of each PCI bridge on the way and of the controller, then the port of a SATA controller. Both are empty for what
    else there is, such as the firmware's own programs. loader and data are those of a Loader.
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

    data is what else the entry has for the loader to read, in hex digits.
    """

    title: str
    partition: int
    path: str
    data: str = ""

    def __str__(self) -> str:
        return f"{self.path} on partition {self.partition}"

    def starts_as(self, other: "Loader") -> bool:
        """Return whether both start the same in the same way; a FAT path has no case."""
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


def parse_numbers(value: bytes) -> tuple[int, ...]:
    """Read BootOrder, BootCurrent or BootNext."""
    return struct.unpack(f"<{len(value) // 2}H", value[: len(value) // 2 * 2])


def choose(
    order: Sequence[Entry],
    current: int | None,
    of_disk: frozenset[str],
    place: tuple[tuple[int, ...], ...],
    here: frozenset[str],
) -> Entry | None:
    """Return the entry that boots a disk: the first of BootOrder that names one of its partitions (PARTUUIDs).

    Else the one that names the disk by its place; else the first that names a partition of any disk (here: an entry
    may have outlived its disk), but for the one that this machine booted by (current). Never a guess: what else the
    firmware lists may be an installer.
    """
    active = [e for e in order if e.active]
    of_it = [e for e in active if e.partition in of_disk]
    at_it = [e for e in active if place and e.place == place]
    others = [e for e in active if e.partition in here and e.number != current]
    # Several at one place are the disks of one controller, and which is which is not known.
    return next(iter(of_it + (at_it if len(at_it) == 1 else []) + others), None)


def place_of(sysfs: str, sata_port: int | None) -> tuple[tuple[int, ...], ...]:
    """Return where a disk is attached, as Entry.place has it, by its path in /sys/devices; sata_port counts from 0."""
    pci = tuple((int(device, 16), int(function)) for device, function in _SYSFS_PCI.findall(sysfs))
    return pci if sata_port is None else (*pci, (sata_port,))


def part_uuids(table: PartitionTable) -> dict[str, int]:
    """Return the numbers of a table's partitions by their PARTUUIDs, as lsblk(8) prints these."""
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


def creating(disk: str, loader: Loader) -> list[str]:
    """Return the command that makes a boot entry for a loader on a disk, the first in the boot order."""
    where = ["--disk", disk, "--part", str(loader.partition)]
    return ["efibootmgr", "--create", *where, "--label", loader.title, "--loader", loader.path]


def firmware() -> Firmware:
    """Return how this machine booted."""
    if not FIRMWARE.is_dir():
        return Firmware(uefi=False)
    value = _read("SecureBoot")
    return Firmware(uefi=True, secure_boot=bool(value[0]) if value else None)


def booted(tables: Sequence[PartitionTable | None]) -> tuple[int, tuple[Loader, ...]]:
    """Return what boots() does of this machine's boot entries; those of a BIOS are none."""
    return boots(tuple(_order()), tables)


def boots(entries: Sequence[Entry], tables: Sequence[PartitionTable | None]) -> tuple[int, tuple[Loader, ...]]:
    """Return which of some disks, by their tables, entries boot, and what of it: the first disk that they name.

    If they name none it is the first that has an ESP; 0 if none has.
    """
    known = [(index, table) for index, table in enumerate(tables) if table]
    found = [(index, loaders(entries, table)) for index, table in known]
    found = [(index, some) for index, some in found if some]
    return next(iter(found + [(index, ()) for index, table in known if esps(table)]), (0, ()))


def esps(table: PartitionTable) -> list[int]:
    """Return the numbers of the EFI system partitions (ESP) of a table."""
    return [p.number for p in table.partitions if p.type.lower() == _ESP_TYPES.get(table.label, "").lower()]


def described() -> str:
    """Return all boot entries as efibootmgr(8) prints them; "" if this machine booted by BIOS, or has none to print."""
    try:
        return run(["efibootmgr", "--verbose"]).stdout if firmware().uefi else ""
    except LvpackError:
        return ""


def put_first(disk: str, table: PartitionTable, loader: Loader) -> Entry:
    """Have the firmware boot a loader on a disk (path and table) before all else; return the entry for it.

    If it has one already, that comes first then; the others stay. Raises Failed if the firmware does not take it.
    """
    with tempfile.NamedTemporaryFile() as data:
        if entry := _entry_for(loader, table, _order()):
            order = (entry.number, *(n for n in parse_numbers(_read("BootOrder")) if n != entry.number))
            command = ["efibootmgr", "--bootorder", ",".join(f"{n:04X}" for n in order)]
        else:
            command = creating(disk, loader)
            if loader.data:
                data.write(bytes.fromhex(loader.data))
                data.flush()
                command += ["--append-binary-args", data.name]
        run(command)
    # Some firmware forgets at once what it was told.
    if entry := _entry_for(loader, table, [*_order()][:1]):
        return entry
    raise Failed("cannot trust the firmware: it has forgotten the entry already")


def _entry_for(loader: Loader, table: PartitionTable, entries: Iterable[Entry]) -> Entry | None:
    return next((e for e in entries if any(found.starts_as(loader) for found in loaders((e,), table))), None)


def boot_next(disk: str, say: Callable[[str], None]) -> None:
    """Let a UEFI machine boot a disk (a path; "": any) at its next start, once; say so, or why not. BIOS: nothing."""
    if not FIRMWARE.is_dir():
        return
    try:
        table = sfdisk.read(disk)[0] if disk else None
        of_disk = frozenset(part_uuids(table) if table else ())
        # Of the disk's own partitions after a restore, udev may not have heard yet.
        here = of_disk.union(run(["lsblk", "--noheadings", "--raw", "-o", "PARTUUID"]).stdout.lower().split())
        entry = choose(tuple(_order()), _current(), of_disk, _place_of(disk) if disk else (), here)
        if entry is None:
            say("warning: the firmware has no boot entry for this machine's disk; it boots what comes first")
            return
        data = struct.pack("<IH", ATTRIBUTES, entry.number)
        # One write: the firmware gets what a write() has as the whole variable.
        (VARIABLES / f"BootNext-{GLOBAL}").write_bytes(data)
        say(f"the firmware boots {entry} next")
    except Exception as error:  # whatever firmware and disk hold, the machine shall reboot
        say(f"warning: cannot set the firmware's next boot entry: {error}; it boots what comes first")


def _place_of(disk: str) -> tuple[tuple[int, ...], ...]:
    path = (Path("/sys/class/block") / Path(disk).name).resolve()
    port = next((p for p in path.parents if re.fullmatch(r"ata\d+", p.name)), None)
    if port is None:
        return place_of(str(path), None)
    # The kernel counts a controller's ports from 1 (kernel: libata-core.c, local_port_no).
    return place_of(str(path), int((port / "ata_port" / port.name / "port_no").read_text()) - 1)


def _order() -> Iterator[Entry]:
    for number in parse_numbers(_read("BootOrder")):
        try:
            yield parse_entry(number, _read(f"Boot{number:04X}"))
        except ValueError:
            continue  # the firmware passes over it as well


def _current() -> int | None:
    found = parse_numbers(_read("BootCurrent"))
    return found[0] if found else None


def _read(name: str) -> bytes:
    """Return the value of a variable, b"" if there is none or it cannot be read."""
    try:
        if not any(VARIABLES.iterdir()):
            run(["mount", "-t", "efivarfs", "efivarfs", str(VARIABLES)])
        return (VARIABLES / f"{name}-{GLOBAL}").read_bytes()[4:]
    except (LvpackError, OSError):
        return b""
