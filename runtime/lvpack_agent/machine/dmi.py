"""What the firmware says of this machine (DMI: the kernel's /sys/class/dmi)."""

from pathlib import Path

from lvpack_agent.machine import firmware

DMI = Path("/sys/class/dmi/id")


def machine() -> dict[str, str]:
    """Return maker, model and numbers of this machine, and how it booted (kernel: sysfs-firmware-dmi-tables)."""
    facts = {"firmware": str(firmware.firmware())}
    for name in ("sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "bios_version"):
        try:
            facts[name] = (DMI / name).read_text().strip()
        except OSError:
            continue
    return facts
