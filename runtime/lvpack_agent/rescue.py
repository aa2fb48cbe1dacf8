"""What a person would want in a disaster: layout/ of an image set, the machine it came from, its host name."""

import re
from pathlib import Path

from lvpack_agent import efi, ext, imageset
from lvpack_agent.probe import Opened
from lvpack_agent.processes import run

DMI = Path("/sys/class/dmi/id")


def machine() -> dict[str, str]:
    """Return who made this machine, which it is, and how it booted (kernel: ABI/testing/sysfs-firmware-dmi-tables)."""
    facts = {"firmware": str(efi.firmware())}
    for name in ("sys_vendor", "product_name", "product_serial", "product_uuid", "board_name", "bios_version"):
        try:
            facts[name] = (DMI / name).read_text().strip()
        except OSError:
            continue
    return facts


def host_name(source: Opened) -> str:
    """Return the name in /etc/hostname of the source's root filesystem, made fit for a folder; "" if there is none.

    The root filesystem is the one that has /etc/fstab too. Only ext filesystems are searched.
    """
    for _, device in source.ext_devices():
        name = ext.read_file(device, "/etc/hostname").strip()
        if name and ext.read_file(device, "/etc/fstab"):
            return re.sub(r"[^A-Za-z0-9._-]", "-", name.splitlines()[0]).strip(".-_")
    return ""


def write(folder: Path, disk: str, source: Opened, vg_text: str, plan_text: str) -> None:
    """Write the source's tables, as its own tools print them, to layout/ of an image set."""
    files = {
        "sfdisk.dump": run(["sfdisk", "--dump", disk]).stdout,
        "lsblk.txt": run(["lsblk", "-o", "NAME,SIZE,TYPE,FSTYPE,LABEL,UUID,PARTUUID,MODEL,SERIAL", disk]).stdout,
        "blkid.txt": "".join(
            run(["blkid", "--probe", "-o", "full", device], ok=(0, 2)).stdout
            for device in (*source.partitions.values(), *source.lvs.values())
        ),
        "plan.txt": plan_text + "\n",
    }
    for vg in source.layout.vgs:
        files[f"{vg.name}.vgcfgbackup"] = vg_text
    for name, text in files.items():
        imageset.write_text(folder, f"layout/{name}", text)
