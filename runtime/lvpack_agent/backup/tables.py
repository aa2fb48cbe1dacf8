"""What a person would want in a disaster: layout/ of an image set, and the host name that a set is called by."""

import re
from collections.abc import Mapping
from pathlib import Path

from lvpack_agent.backup import fstab
from lvpack_agent.devices.blkid import AMBIVALENT, NOTHING
from lvpack_agent.filesystems import ext, xfs
from lvpack_agent.image.files import write_text
from lvpack_agent.machine import efi_boot
from lvpack_agent.probe.open import Opened, Volume
from lvpack_agent.processes import run

# hostname(7): a host name has at most so many characters; a longer one is cut, since a file's name has only 255.
LONGEST_HOST = 64


def host_name(source: Opened) -> str:
    """Return the name in /etc/hostname of the source's root filesystem, made fit for a folder; "" if there is none."""
    name, _ = _of_root(source)
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-_")[:LONGEST_HOST].rstrip(".-_")


def mounts(source: Opened) -> dict[str, str]:
    """Return the mount points of LVs, and the UUIDs of these, by /etc/fstab of the root filesystem."""
    _, text = _of_root(source)
    return fstab.mounts(text, source.layout)


def _of_root(source: Opened) -> tuple[str, str]:
    """Return the first line of /etc/hostname, and /etc/fstab, of the root filesystem; "" if there is none.

    The root filesystem is the one that has both, of several the one on the first disk. Only ext filesystems and XFS are
    searched.
    """
    where = {lv.uuid: min(pv.disk for pv in vg.pvs) for vg in source.layout.vgs for lv in vg.lvs}

    def order(volume: Volume) -> tuple[int, bool]:
        # Most installers call it so; with 200 LVs it is worth it to ask that one first.
        disk = where[volume.key] if isinstance(volume.key, str) else volume.key[0]
        return disk, "root" not in volume.name.lower()

    for volume in sorted(source.volumes(), key=order):
        if not volume.content.is_ext and volume.content.type != "xfs":
            continue
        read_file = ext.read_file if volume.content.is_ext else xfs.read_file
        name = read_file(volume.device, "/etc/hostname").strip()
        if name and (table := read_file(volume.device, "/etc/fstab")):
            return name.splitlines()[0], table
    return "", ""


def write(folder: Path, source: Opened, vg_texts: Mapping[str, str], plan_text: str) -> None:
    """Write the source's tables, as its own tools print them, to layout/ of an image set; vg_texts by VG name."""
    disks, devices = source.layout.disks, (*source.partitions.values(), *source.lvs.values())
    columns = "NAME,SIZE,TYPE,FSTYPE,LABEL,UUID,PARTUUID,MODEL,SERIAL"
    tables = {
        "lsblk.txt": run(["lsblk", "-o", columns, *(disk.path for disk in disks)]).stdout,
        "blkid.txt": run(["blkid", "--probe", "-o", "full", *devices], ok=(0, NOTHING, AMBIVALENT)).stdout,
        "plan.txt": plan_text + "\n",
    }
    for number, disk in enumerate(disks):
        if disk.table:
            tables[f"sfdisk{number or ''}.dump"] = run(["sfdisk", "--dump", disk.path]).stdout
    tables |= {f"{name}.vgcfgbackup": text for name, text in vg_texts.items()}
    if entries := efi_boot.described():
        tables["efibootmgr.txt"] = entries
    for name, text in tables.items():
        write_text(folder, f"layout/{name}", text)
