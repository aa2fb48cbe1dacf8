"""UEFI firmware of virtual machines, and where it keeps its variables.

No unit test: it names and copies files of Debian's ovmf, which qemu-tests/tests/test_uefi.py boots by.
"""

from pathlib import Path

from lvpack_agent.errors import Failed

# OVMF as Debian has it; its variables with Microsoft's keys are "ms".
UEFI = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
UEFI_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
UEFI_SECURE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
UEFI_SECURE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")


def new_nvram(path: Path, *, secure: bool = False) -> Path:
    """Make a file of UEFI variables as they are in a new machine; secure: with Microsoft's keys, Secure Boot on."""
    source = UEFI_SECURE_VARIABLES if secure else UEFI_VARIABLES
    try:
        path.write_bytes(source.read_bytes())
    except FileNotFoundError:
        raise Failed(f"cannot make UEFI variables: there is no '{source}'", hint="apt-get install ovmf") from None
    return path
