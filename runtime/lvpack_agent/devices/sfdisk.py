"""Partition tables: read from sfdisk(8), written whole as an sfdisk script."""

import json
import re
from typing import Any

from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed, understood
from lvpack_agent.jsonform import checked
from lvpack_agent.layout.disks import Partition, PartitionTable
from lvpack_agent.processes import ToolFailed, run


@understood("the answer of sfdisk")
def parse(text: str) -> tuple[PartitionTable, int]:
    """Read `sfdisk --json`; return the table, and the bytes per sector that it counts in.

    Raises Failed if it is not as sfdisk answers.
    """
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    first, last = table.get("firstlba"), table.get("lastlba")
    rows = tuple(_partition(p, table["device"], table["label"], sector) for p in table.get("partitions", ()))
    if sector < 512:
        raise ValueError(f"sectors of {sector} bytes")
    read = PartitionTable(
        label=table["label"],
        id=table["id"],
        partitions=rows,
        first_sector=int(first) if first is not None else None,
        last_sector=int(last) if last is not None else None,
    )
    return checked(read), sector


def _partition(row: dict[str, Any], device: str, label: str, sector: int) -> Partition:
    return Partition(
        number=int(row["node"].removeprefix(device).lstrip("p-art")),
        start=int(row["start"]) * sector,
        size=int(row["size"]) * sector,
        type=row["type"],
        # sfdisk derives a msdos "UUID" from disk signature and number; only GPT stores one.
        uuid=row.get("uuid", "") if label == "gpt" else "",
        name=row.get("name", ""),
        attributes=row.get("attrs", ""),
        bootable=bool(row.get("bootable", False)),
    )


def read(device: str) -> tuple[PartitionTable | None, int]:
    """Return the table on a device and its sector size in bytes; no table if sfdisk sees none.

    A disk that is a FAT, NTFS or exFAT as a whole has none, though its first sector looks like one.
    """
    sector = int(run(["blockdev", "--getss", device]).stdout)
    try:
        answer = run(["sfdisk", "--json", device]).stdout
    except ToolFailed as failed:
        if "does not contain a recognized partition table" in failed.completed.stderr:
            return None, sector
        raise
    table, sector = parse(answer)
    if table.label == "dos" and not table.partitions and "TYPE" in blkid.identify(device):
        return None, sector
    return table, sector


def render(table: PartitionTable, sector: int) -> str:
    """Return the sfdisk script that makes this table; sector is in bytes."""
    lines = [f"label: {table.label}", f"label-id: {table.id}", "unit: sectors"]
    if table.first_sector is not None:
        lines.append(f"first-lba: {table.first_sector}")
    for p in sorted(table.partitions, key=lambda p: p.number):
        row = f"{p.number} : start={p.start // sector}, size={p.size // sector}, type={p.type}"
        row += f", uuid={p.uuid}" if p.uuid else ""
        row += f", name={_quoted(p.name)}" if p.name else ""
        row += f', attrs="{p.attributes}"' if p.attributes else ""
        row += ", bootable" if p.bootable else ""
        lines.append(row)
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    # Of a script a line is a partition; \xNN is any byte in it (sfdisk(8), as --dump prints it).
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', lambda found: f"\\x{ord(found[0]):02x}", name) + '"'


def write(device: str, table: PartitionTable, sector: int) -> None:
    """Write the table to a device and read it back. Raises Failed if it reads back differently."""
    run(
        [
            "sfdisk",
            # The device is a mapping of ours: the kernel knows no partitions on it and need not read them again.
            "--no-reread",
            "--no-tell-kernel",
            # What stands in the sectors around the table belongs to the source (boot loader) and must stay.
            "--wipe=never",
            "--wipe-partitions=never",
            "--quiet",
            device,
        ],
        input=render(table, sector),
    )
    found, _ = read(device)
    if found != table.bare():
        raise Failed(f"cannot write the partition table of '{device}': it reads back as {found}")


def move_backup_gpt(device: str) -> None:
    """Put the backup GPT at the end of a disk that is bigger than its image was (sfdisk(8), --relocate)."""
    run(["sfdisk", "--no-reread", "--no-tell-kernel", "--relocate", "gpt-bak-std", device])
