"""The block devices of this machine, as lsblk(8) lists them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvpack_agent.errors import Refused, understood
from lvpack_agent.jsonform import checked
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.layout.disks import Disk
from lvpack_agent.processes import run

COLUMNS = "NAME,PATH,TYPE,SIZE,RO,RM,LOG-SEC,MODEL,SERIAL,WWN,FSTYPE,LABEL,UUID"
# The value of lvpack.disk that names no disk.
AUTO = ("auto",)
# The volume label of lvpack's own ISO, which is a disk on a USB stick or as virtual media of some servers; and that of
# the filesystem with secrets.
BOOT_LABEL = "LVPACK"
# The filesystems that a share or secrets can be on, and how the log of one is not replayed (ext4(5), xfs(5)).
FILESYSTEMS = {"vfat": "", "exfat": "", "ext2": "", "ext3": ",noload", "ext4": ",noload", "xfs": ",norecovery"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevice:
    """A disk or partition; type is lsblk's TYPE (disk, part, rom, loop, …), size in bytes."""

    path: str
    type: str
    size: int
    sector_size: int
    read_only: bool
    model: str
    serial: str
    wwn: str
    fstype: str
    label: str
    uuid: str
    parts: tuple["BlockDevice", ...] = ()

    @property
    def is_boot_medium(self) -> bool:
        """Whether this is a stick or the like that lvpack boots from."""
        return self.fstype == "iso9660" and self.label == BOOT_LABEL

    @property
    def has_secrets(self) -> bool:
        """Whether this is where secrets may be looked for, a filesystem with the label LVPACK."""
        return self.fstype in FILESYSTEMS and self.label == BOOT_LABEL

    @property
    def is_own(self) -> bool:
        """Whether a disk is lvpack's: it boots from it, or it is the stick with secrets. With a PV it is a server's."""
        every = (self, *self.parts)
        is_servers = any(d.fstype == PV_TYPE for d in every)
        return self.is_boot_medium or (any(d.has_secrets for d in every) and not is_servers)

    def without_table(self) -> Disk:
        """Return it as a disk of a layout, whose partition table is not known."""
        return Disk(
            path=self.path,
            size=self.size,
            sector_size=self.sector_size,
            table=None,
            model=self.model,
            serial=self.serial,
            wwn=self.wwn,
        )

    def describe(self) -> str:
        """Return what a person recognises a disk by."""
        facts = [self.model, f"serial {self.serial}" if self.serial else ""]
        return f"{self.path} ({', '.join([*filter(None, facts), f'{self.size:,} bytes'])})"


@understood("the answer of lsblk")
def parse(text: str) -> tuple[BlockDevice, ...]:
    """Read the answer of `lsblk --json --bytes --tree -o COLUMNS`; only real disks and their partitions are kept.

    Raises Failed if it is not as lsblk answers.
    """
    return tuple(checked(_device(item)) for item in json.loads(text)["blockdevices"] if item["type"] == "disk")


def _device(item: dict[str, Any]) -> BlockDevice:
    return BlockDevice(
        path=item["path"],
        type=item["type"],
        size=int(item["size"]),
        sector_size=int(item["log-sec"]),
        read_only=bool(item["ro"]),
        model=(item["model"] or "").strip(),
        serial=(item["serial"] or "").strip(),
        wwn=item["wwn"] or "",
        fstype=item["fstype"] or "",
        label=item["label"] or "",
        uuid=item["uuid"] or "",
        parts=tuple(_device(c) for c in item.get("children", ()) if c["type"] == "part"),
    )


def read() -> tuple[BlockDevice, ...]:
    """Return the disks of this machine; those of size 0 (empty card readers, floppies) are left out."""
    # 1 is RAM disks, 2 floppies, 7 loop devices, 252/253 may be zram or device-mapper: type tells those.
    answer = run(["lsblk", "--json", "--bytes", "--tree", "--exclude", "1,2,7", "-o", COLUMNS]).stdout
    return tuple(d for d in parse(answer) if d.size and not d.path.startswith("/dev/zram"))


def select(disks: tuple[BlockDevice, ...], wanted: tuple[str, ...]) -> tuple[BlockDevice, ...]:
    """Return the disks that lvpack.disk names by path, by-id path, WWN or serial; auto is all but lvpack's own.

    Raises Refused for a name that no disk or more than one disk has.
    """
    if wanted == AUTO:
        return tuple(d for d in disks if not d.is_own)
    chosen = []
    for name in wanted:
        path = str(Path(name).resolve()) if name.startswith("/") else ""
        found = [d for d in disks if (d.path == path if path else name in (d.serial, d.wwn))]
        if len(found) != 1:
            raise Refused(
                f"cannot find disk '{name}': {len(found) or 'no'} disk{'s' if len(found) != 1 else ''} of that name",
                hint="the disks are " + ("; ".join(d.describe() for d in disks) or "none at all"),
            )
        chosen += found
    return tuple(dict.fromkeys(chosen))


def holding(disks: tuple[BlockDevice, ...], path: str) -> tuple[BlockDevice, ...]:
    """Return the disk that a path names, by itself or by one of its partitions; the path may be a link (/dev/disk)."""
    real = str(Path(path).resolve())
    return tuple(d for d in disks if real in (p.path for p in (d, *d.parts)))
