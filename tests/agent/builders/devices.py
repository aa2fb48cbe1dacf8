"""Block devices as lsblk would list them; files stand for them."""

from pathlib import Path

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.sizes import MIB


def device(path: Path, parts: tuple[BlockDevice, ...] = ()) -> BlockDevice:
    """Return a disk of 64 MiB of which nothing is known but its path and partitions."""
    return BlockDevice(
        path=str(path),
        type="disk",
        size=64 * MIB,
        sector_size=512,
        read_only=False,
        model="",
        serial="",
        wwn="",
        fstype="",
        label="",
        uuid="",
        parts=parts,
    )
