"""The machine, by what its firmware says of it (DMI: the kernel's /sys/class/dmi)."""

from pathlib import Path

from lvpack_agent.machine import firmware

DMI = Path("/sys/class/dmi/id")


def machine() -> dict[str, str]:
    """Return who made this machine, which it is, and how it booted (kernel: ABI/testing/sysfs-firmware-dmi-tables)."""
    facts = {"firmware": str(firmware.firmware())}
    for name in ("sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "bios_version"):
        try:
            facts[name] = (DMI / name).read_text().strip()
        except OSError:
            continue
    return facts
