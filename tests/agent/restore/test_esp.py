"""Which loader of a restored ESP the firmware shall boot, and what the fallback needs beside it."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.machine.firmware import Firmware
from lvpack_agent.restore import esp
from lvpack_agent.session import Session
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import empty_image, manifest, manifest_of

DEBIAN = "grub.cfg shimx64.efi grubx64.efi mmx64.efi fbx64.efi BOOTX64.CSV"
SHIM = Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi")


def put(root: Path, folder: str, names: str, written: int = 0) -> Path:
    """Make files whose text is their path."""
    (root / folder).mkdir(parents=True)
    for name in names.split():
        path = root / folder / name
        path.write_text(f"{folder}/{name}")
        os.utime(path, (written, written))
    return root / folder


def texts(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "EFI/BOOT").iterdir()}


def test_shim_comes_before_grub_and_the_youngest_system_first(tmp_path: Path) -> None:
    put(tmp_path, "EFI/old", "grubx64.efi", 10)
    put(tmp_path, "EFI/debian", DEBIAN, 30)
    put(tmp_path, "EFI/Suse", "SHIM.EFI grub.efi", 20)
    put(tmp_path, "EFI/tools", "memtest.efi", 40)
    put(tmp_path, "EFI/BOOT", "BOOTX64.EFI grubx64.efi", 50)
    assert [(x.title, x.path) for x in esp.known(tmp_path, 1)] == [
        ("debian", "\\EFI\\debian\\shimx64.efi"),
        ("Suse", "\\EFI\\Suse\\SHIM.EFI"),
        ("old", "\\EFI\\old\\grubx64.efi"),
    ]


def test_the_fallback_is_known_if_there_is_nothing_else(tmp_path: Path) -> None:
    assert esp.known(tmp_path, 1) == []
    put(tmp_path, "EFI/BOOT", "BOOTX64.EFI grubx64.efi")
    assert esp.known(tmp_path, 2) == [Loader(title="UEFI OS", partition=2, path="\\EFI\\BOOT\\BOOTX64.EFI")]


def test_fallback_is_shim_with_grub_and_without_what_makes_entries(tmp_path: Path) -> None:
    put(tmp_path, "EFI/debian", DEBIAN)
    said = esp.put_fallback(tmp_path, SHIM)
    assert texts(tmp_path) == {
        "BOOTX64.EFI": "EFI/debian/shimx64.efi",
        "grubx64.efi": "EFI/debian/grubx64.efi",
        "mmx64.efi": "EFI/debian/mmx64.efi",
    }
    assert SHIM.path in said and "grubx64.efi, mmx64.efi" in said


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, "EFI/debian", DEBIAN)
    folder = put(tmp_path, "EFI/BOOT", "mmx64.efi BOOTX64.EFI")
    assert "stays as it is" in esp.put_fallback(tmp_path, SHIM)
    assert set(texts(tmp_path)) == {"mmx64.efi", "BOOTX64.EFI"}
    (folder / "BOOTX64.EFI").unlink()
    esp.put_fallback(tmp_path, SHIM)
    assert texts(tmp_path)["mmx64.efi"] == "EFI/BOOT/mmx64.efi"


def test_full_esp_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "EFI/debian", DEBIAN)
    copy = shutil.copyfileobj

    def full(source: BinaryIO, target: BinaryIO) -> None:
        copy(source, target)
        if (tmp_path / "EFI/BOOT/mmx64.efi").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        esp.put_fallback(tmp_path, SHIM)
    assert texts(tmp_path) == {}


def entry(path: str, partition: int = 1) -> Loader:
    return Loader(title="evil\n", partition=partition, path=path)


@pytest.mark.parametrize("path", ["\\EFI/../../x", "\\EFI\\..\\x", "C:\\x", "\\\\x", "x"])
def test_an_entry_that_leaves_the_esp_is_refused_unless_none_is_wanted(path: str) -> None:
    made = replace(manifest(), boot=(SHIM, entry(path)))
    for how in ("entry", "fallback", "both"):
        with pytest.raises(Refused, match=r"boot entry 'evil\\n' starts") as refused:
            esp.refuse_astray(made, "one", how)
        assert "lvpack.efi=none" in refused.value.hint
    esp.refuse_astray(made, "one", "none")
    esp.refuse_astray(replace(made, boot=(SHIM,)), "one", "entry")


def test_what_is_no_file_on_the_esp_is_left_out_with_a_warning(tmp_path: Path) -> None:
    put(tmp_path, "EFI/debian", "shimx64.efi")
    put(tmp_path, "outside", "x.efi")
    (tmp_path / "EFI/link").symlink_to("../outside")
    (tmp_path / "EFI/debian/link.efi").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "EFI/debian/fifo.efi")
    session = Session(action="restore", out=print)
    there = {
        path: esp._is_there(tmp_path, entry(path), session)
        for path in (
            "\\EFI\\debian\\shimx64.efi",
            "\\EFI\\gone\\x.efi",
            "\\EFI\\link\\x.efi",
            "\\EFI\\debian\\link.efi",
            "\\EFI\\debian\\fifo.efi",
            "\\EFI\\debian\\shimx64.efi\\x",
            "\\EFI\\" + "x" * 300,
            "\\EFI/../../x",
        )
    }
    assert list(there.values()) == [True] + [False] * 7
    assert len(session.warnings) == 6 and all(text.isprintable() for text in session.warnings)


def test_links_are_neither_known_nor_copied(tmp_path: Path) -> None:
    put(tmp_path, "EFI/debian", "grubx64.efi")
    (tmp_path / "EFI/debian/shimx64.efi").symlink_to("/etc/passwd")
    (tmp_path / "EFI/linked").symlink_to("debian")
    [found] = esp.known(tmp_path, 1)
    assert found.path == "\\EFI\\debian\\grubx64.efi"
    esp.put_fallback(tmp_path, found)
    assert set(texts(tmp_path)) == {"BOOTX64.EFI"}


class Mapped:
    """An ESP that is a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(esp, "mapped", lambda disk, name, undo: (None, None, {1: "/dev/mapper/esp1"}))
        monkeypatch.setattr(esp, "_mounted", lambda device, folder, undo, writable: root)
        monkeypatch.setattr("lvpack_agent.devices.blockdev.flush", lambda disk: None)


@pytest.mark.parametrize(
    "loader",
    [
        replace(SHIM, partition=7),
        replace(SHIM, data="no hex"),
        replace(SHIM, title="a\0b"),
        replace(SHIM, path="\\EFI\\debian\\a\0b"),
    ],
)
def test_nothing_that_an_entry_holds_fails_a_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Loader
) -> None:
    put(tmp_path, "EFI/debian", "shimx64.efi")
    Mapped(tmp_path, monkeypatch)
    monkeypatch.setattr("lvpack_agent.machine.firmware.firmware", lambda: Firmware(uefi=True, secure_boot=None))
    monkeypatch.setattr("lvpack_agent.machine.efi_boot._order", lambda: iter(()))
    table = PartitionTable(
        label="gpt",
        id="",
        partitions=(Partition(number=1, start=MIB, size=MIB, type="C12A7328-F81F-11D2-BA4B-00A0C93EC93B", uuid="u"),),
    )
    disk = Disk(path="/dev/vda", size=4 * MIB, sector_size=512, table=table)
    made = manifest_of((disk,), (empty_image(4 * MIB, "disk.img"),))
    made = replace(made, boot=(loader,), machine={"firmware": "UEFI"})
    session = Session(action="restore", out=print)
    esp.make_bootable("/dev/vda", made, table, "entry", session, tmp_path / "esp")
    assert session.warnings
