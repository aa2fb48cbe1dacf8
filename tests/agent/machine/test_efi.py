"""Which entry the firmware of a UEFI machine shall boot next, by the variables of a real one."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices import sfdisk
from lvpack_agent.layout.disks import Partition, PartitionTable
from lvpack_agent.machine import efi_boot, efi_entries
from lvpack_agent.machine.efi_entries import Entry, Loader

OVMF = Path(__file__).parents[2] / "data/efi-ovmf"
VARIABLES = {
    name: bytes.fromhex(text)
    for name, text in (row.split() for row in (OVMF / "variables.txt").read_text().split("\n") if row)
}
SYSFS, ESP, OTHER = (OVMF / "disk.txt").read_text().split()
STICK = "2b53107b-c75c-8e42-809e-381e210debf2"
DISK, HERE = frozenset((ESP, OTHER)), frozenset((ESP, OTHER, STICK))


def entries() -> dict[int, Entry]:
    """The entries in their order, by number."""
    order = efi_entries.parse_numbers(VARIABLES["BootOrder"][4:])
    return {n: efi_entries.parse_entry(n, VARIABLES[f"Boot{n:04X}"][4:]) for n in order}


def test_entries_of_ovmf() -> None:
    found = entries()
    assert list(found) == [2, 4, 5, 6, 7, 1, 3, 0, 8, 0xAB]
    assert {n: e.title for n, e in found.items() if n in (3, 4, 0xAB)} == {
        3: "UEFI Misc Device",
        4: "UEFI PXEv4 (MAC:525400123456)",
        0xAB: "debian",
    }
    assert (found[0xAB].partition, found[0xAB].loader) == (ESP, "\\EFI\\debian\\grubx64.efi")
    assert not any(e.loader or e.data for n, e in found.items() if n not in (1, 2, 3, 4, 5, 6, 7, 0xAB))
    assert {n for n, e in found.items() if not e.active} == {0}  # the firmware's setup is an application
    assert found[1].place == ((0x1F, 2), (5,))
    assert found[8].place == ()
    assert efi_entries.parse_numbers(VARIABLES["BootCurrent"][4:]) == (2,)


def test_loaders_are_those_of_active_entries_on_partitions_of_the_disk() -> None:
    rows = [Partition(number=n, start=0, size=0, type="", uuid=u.upper()) for n, u in ((2, OTHER), (15, ESP))]
    table = PartitionTable(label="gpt", id="", partitions=tuple(rows))
    debian = Loader(title="debian", partition=15, path="\\EFI\\debian\\grubx64.efi")
    assert efi_entries.loaders(entries().values(), table) == (debian,)
    off = Entry(number=1, active=False, title="off", partition=ESP, loader="\\off.efi")
    bare = Entry(number=2, active=True, title="no path", partition=ESP)
    stick = Entry(number=3, active=True, title="lvpack", partition=STICK, loader="\\EFI\\BOOT\\BOOTX64.EFI")
    late = Entry(number=4, active=True, title="late", partition=OTHER, loader="\\a.efi", data="00ff")
    assert efi_entries.loaders([off, bare, stick, late, *entries().values()], table) == (
        Loader(title="late", partition=2, path="\\a.efi", data="00ff"),
        debian,
    )


def test_the_disk_that_boots_need_not_be_the_first() -> None:
    """A server may have its VG on one disk and /boot on another, which lvpack.disk= adds."""
    other = PartitionTable(label="gpt", id="", partitions=(Partition(number=1, start=0, size=0, type="", uuid="x"),))
    by_entry = replace(other, partitions=(Partition(number=3, start=0, size=0, type="", uuid=ESP.upper()),))
    by_type = replace(
        other, partitions=(Partition(number=1, start=0, size=0, type="c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),)
    )
    found = tuple(entries().values())
    debian = Loader(title="debian", partition=3, path="\\EFI\\debian\\grubx64.efi")
    assert efi_boot.boots(found, [None, by_type, by_entry]) == (2, (debian,))
    assert efi_boot.boots((), [None, other, by_type, by_entry]) == (2, ())
    assert efi_boot.boots((), [other, None]) == (0, ())


def test_path_in_several_nodes_and_data_after_it() -> None:
    path = b""
    for text in ("\\EFI\\", "debian", "\\shimx64.efi"):
        name = f"{text}\0".encode("utf-16-le")
        path += struct.pack("<BBH", 4, 4, 4 + len(name)) + name
    path += b"\x7f\xff\4\0"
    option = struct.pack("<IH", 1, len(path)) + "x\0".encode("utf-16-le") + path + b"\0\xff\n"
    found = efi_entries.parse_entry(1, option)
    assert (found.loader, found.data) == ("\\EFI\\debian\\shimx64.efi", "00ff0a")


def test_a_loader_is_the_same_under_another_title_and_in_other_case() -> None:
    loader = Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi")
    assert loader.starts_as(Loader(title="Linux", partition=1, path="\\efi\\DEBIAN\\shimx64.efi"))
    assert not loader.starts_as(Loader(title="debian", partition=2, path=loader.path))
    assert not loader.starts_as(Loader(title="debian", partition=1, path=loader.path, data="00"))


def test_an_entry_that_names_a_partition_of_the_disk_comes_first() -> None:
    found = entries()
    assert efi_boot.choose([*found.values()], 2, DISK, efi_boot.place_of(SYSFS, None), HERE) == found[0xAB]


def test_else_the_entry_of_the_disk_where_it_is_attached() -> None:
    found = entries()
    del found[0xAB]
    assert efi_boot.choose([*found.values()], 2, DISK, efi_boot.place_of(SYSFS, None), HERE) == found[3]


def test_neither_a_dvd_nor_the_network_nor_a_stick_is_taken_for_the_disk() -> None:
    found = entries()
    del found[0xAB], found[3]
    assert efi_boot.choose([*found.values()], 2, DISK, efi_boot.place_of(SYSFS, None), HERE) is None
    assert efi_boot.choose([*found.values()], 2, DISK, (), HERE) is None
    # The disk at the next port of the DVD drive's controller.
    assert efi_boot.choose([*found.values()], 2, DISK, ((0x1F, 2), (1,)), HERE) is None


def test_two_disks_of_one_controller_are_not_guessed_between() -> None:
    first, second = (Entry(number=n, active=True, title="RAID volume", place=((3, 0), (0, 0))) for n in (1, 2))
    assert efi_boot.choose([first], None, frozenset(), ((3, 0), (0, 0)), frozenset()) == first
    assert efi_boot.choose([first, second], None, frozenset(), ((3, 0), (0, 0)), frozenset()) is None


def test_a_server_whose_esp_is_on_another_disk_boots_from_there() -> None:
    gone = Entry(number=7, active=True, title="old disk", partition="00000000-0000-0000-0000-000000000000")
    stick = Entry(number=8, active=True, title="lvpack", partition=STICK)
    off = Entry(number=9, active=False, title="debian", partition=OTHER)
    esp = Entry(number=10, active=True, title="debian", partition=ESP)
    assert efi_boot.choose([gone, stick, off, esp], 8, frozenset(("ab12cd34-02",)), ((3, 0),), HERE) == esp
    assert efi_boot.choose([gone, stick, off], 8, frozenset(("ab12cd34-02",)), ((3, 0),), HERE) is None


def test_place_of_disks() -> None:
    assert efi_boot.place_of("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda", 2) == (
        (0x1F, 2),
        (2,),
    )
    assert efi_boot.place_of("/sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0/nvme/nvme0/nvme0n1", None) == (
        (1, 1),
        (0, 0),
    )


def test_partitions_of_a_msdos_disk_have_the_names_of_lsblk(blog: Path) -> None:
    table, _ = sfdisk.parse((blog / "sfdisk.json").read_text())
    uuids = efi_entries.part_uuids(table)
    signature = int(table.id, 16)
    assert f"{signature:08x}-02" in uuids
    node = struct.pack("<BBHIQQ16sBB", 4, 1, 42, 2, 2048, 4096, signature.to_bytes(4, "little"), 1, 1)
    path = node + b"\x7f\xff\x04\x00"
    option = struct.pack("<IH", 1, len(path)) + "old\0".encode("utf-16-le") + path
    assert efi_entries.parse_entry(5, option).partition in uuids


@pytest.mark.parametrize("value", [b"", b"\1\0\0", b"\1\0\0\0\4\0ab"])
def test_what_is_no_load_option_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="Boot0001"):
        efi_entries.parse_entry(1, value)


def test_damaged_device_paths_name_nothing() -> None:
    for path in (b"\4\1\x2a\0", b"\4\1\0\0", b"\1"):
        option = struct.pack("<IH", 1, len(path)) + "x\0".encode("utf-16-le") + path
        assert efi_entries.parse_entry(1, option) == Entry(number=1, active=True, title="x")
