"""Which loader of a restored ESP the firmware shall boot, and what the fallback needs beside it."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.restore import esp

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
    copyfile = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        copyfile(source, target)
        if target.name == "mmx64.efi":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        esp.put_fallback(tmp_path, SHIM)
    assert texts(tmp_path) == {}
