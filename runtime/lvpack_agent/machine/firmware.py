"""The firmware that this machine booted by, and its variables.

Variables are files of efivarfs: four bytes of attributes, then the value (kernel: filesystems/efivarfs.rst).

Tested in guests with real firmware: qemu-tests/tests/test_uefi.py.
"""

from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run

FIRMWARE = Path("/sys/firmware/efi")
VARIABLES = FIRMWARE / "efivars"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"


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


def firmware() -> Firmware:
    """Return how this machine booted."""
    if not FIRMWARE.is_dir():
        return Firmware(uefi=False)
    value = variable("SecureBoot")
    return Firmware(uefi=True, secure_boot=bool(value[0]) if value else None)


def variable(name: str) -> bytes:
    """Return the value of a variable, b"" if there is none or it cannot be read."""
    try:
        if not any(VARIABLES.iterdir()):
            run(["mount", "-t", "efivarfs", "efivarfs", str(VARIABLES)])
        return (VARIABLES / f"{name}-{GLOBAL}").read_bytes()[4:]
    except (Failed, OSError):
        return b""
