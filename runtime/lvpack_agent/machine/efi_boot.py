"""What UEFI firmware boots: asked, put in order, and said for the next start."""

import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lvpack_agent.devices import sfdisk
from lvpack_agent.errors import Failed
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.machine.efi_entries import Entry, Loader, esps, loaders, parse_entry, parse_numbers, part_uuids
from lvpack_agent.machine.firmware import FIRMWARE, GLOBAL, VARIABLES, firmware, variable
from lvpack_agent.processes import run

# Non-volatile, for boot services, at run time: what the specification gives BootNext (3.3, table of variables).
ATTRIBUTES = 7

_SYSFS_PCI = re.compile(r"/[0-9a-f]{4}:[0-9a-f]{2}:([0-9a-f]{2})\.([0-7])(?=/)")


def choose(
    order: Sequence[Entry],
    current: int | None,
    of_disk: frozenset[str],
    place: tuple[tuple[int, ...], ...],
    here: frozenset[str],
) -> Entry | None:
    """Return the entry of BootOrder (order) that boots a disk; None if it is not clear which.

    It is the first that names one of the disk's partitions (of_disk, PARTUUIDs). Else it is the only one that names the
    place where the disk is attached. Else it is the first that names a partition of any disk of this machine (here: an
    entry may have outlived its disk), but not the one that this machine booted by (current). Never a guess: what else
    the firmware lists may be an installer.
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


def creating(disk: str, loader: Loader) -> list[str]:
    """Return the command that makes a boot entry for a loader on a disk, the first in the boot order."""
    where = ["--disk", disk, "--part", str(loader.partition)]
    return ["efibootmgr", "--create", *where, "--label", loader.title, "--loader", loader.path]


def booted(tables: Sequence[PartitionTable | None]) -> tuple[int, tuple[Loader, ...]]:
    """Return boots() of this machine's boot entries; a machine that booted by BIOS has none."""
    return boots(tuple(_order()), tables)


def boots(entries: Sequence[Entry], tables: Sequence[PartitionTable | None]) -> tuple[int, tuple[Loader, ...]]:
    """Return the index of the disk that boot entries start from, and the loaders on it that they start.

    tables are the partition tables of the disks. It is the first disk that an entry names; else the first that has an
    ESP, without loaders; else 0.
    """
    known = [(index, table) for index, table in enumerate(tables) if table]
    found = [(index, loaders(entries, table)) for index, table in known]
    found = [(index, some) for index, some in found if some]
    return next(iter(found + [(index, ()) for index, table in known if esps(table)]), (0, ()))


def described() -> str:
    """Return all boot entries as efibootmgr(8) prints them; "" if this machine booted by BIOS, or has none to print."""
    try:
        return run(["efibootmgr", "--verbose"]).stdout if firmware().uefi else ""
    except Failed:
        return ""


def put_first(disk: str, table: PartitionTable, loader: Loader) -> Entry:
    """Make the firmware boot a loader on a disk (path and table) before all else; return its boot entry.

    An entry that is there already is put first in the boot order; all others stay. Raises Failed if the firmware does
    not take it.
    """
    with tempfile.NamedTemporaryFile() as data:
        if entry := _entry_for(loader, table, _order()):
            order = (entry.number, *(n for n in parse_numbers(variable("BootOrder")) if n != entry.number))
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
        # In one write(): the firmware takes what a write() has as the whole variable.
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
    for number in parse_numbers(variable("BootOrder")):
        try:
            yield parse_entry(number, variable(f"Boot{number:04X}"))
        except ValueError:
            continue  # the firmware passes over it as well


def _current() -> int | None:
    found = parse_numbers(variable("BootCurrent"))
    return found[0] if found else None
