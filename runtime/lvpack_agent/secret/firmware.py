"""Secrets that a hypervisor hands to its virtual machine: by QEMU's fw_cfg, or as OEM strings of SMBIOS."""

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lvpack_agent.processes import run
from lvpack_agent.secret.names import MOST

# QEMU: docs/specs/fw_cfg.rst, "opt/" and a reversed domain; kernel: Documentation/ABI, sysfs-firmware-qemu_fw_cfg.
FW_CFG = Path("/sys/firmware/qemu_fw_cfg/by_name/opt/org.lvpack")
# kernel: Documentation/ABI, sysfs-firmware-dmi-tables.
DMI = Path("/sys/firmware/dmi/tables/DMI")
DMI_MOST = 1 << 20
# SMBIOS 3.6, 7.12: OEM Strings.
OEM_STRINGS = 11
PREFIX, PREFIX_BASE64 = "org.lvpack.secret:", "org.lvpack.secret.base64:"


def from_fw_cfg(name: str) -> bytes | None:
    """Return the secret that QEMU was given as `-fw_cfg name=opt/org.lvpack/NAME,file=FILE`; None if there is none."""
    run(["modprobe", "--quiet", "qemu_fw_cfg"], ok=range(256))  # a machine without it is no QEMU
    with suppress(OSError), (FW_CFG / name / "raw").open("rb") as file:
        return file.read(MOST + 1)
    return None


def from_smbios(name: str) -> bytes | None:
    """Return the secret in an OEM string `org.lvpack.secret:NAME=TEXT`, or `….base64:NAME=BASE64`; None without one."""
    try:
        with DMI.open("rb") as file:
            table = file.read(DMI_MOST)
    except OSError:
        return None
    for text in oem_strings(table):
        for prefix, decoded in ((PREFIX, False), (PREFIX_BASE64, True)):
            key, equals, value = text.removeprefix(prefix).partition("=")
            if text.startswith(prefix) and equals and key == name:
                with suppress(binascii.Error):
                    return base64.b64decode(value, validate=True) if decoded else value.encode("latin-1")
    return None


def oem_strings(table: bytes) -> Iterator[str]:
    """Yield the OEM strings of an SMBIOS structure table; one that is damaged ends them.

    A structure is type, length and handle, as many bytes as length says in all, then strings that each end with a zero
    byte, and one zero byte more (SMBIOS 3.6, 6.1).
    """
    at = 0
    while at + 4 <= len(table):
        kind, length = struct.unpack_from("BB", table, at)
        end = table.find(b"\0\0", at + length)
        if length < 4 or end < 0:
            return
        if kind == OEM_STRINGS:
            yield from (text.decode("latin-1") for text in re.split(b"\0", table[at + length : end]) if text)
        at = end + 2
