"""The packed disk of overlay mode: a device-mapper table, with a partition table and LVM metadata of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lvpack_agent.devices import dmsetup, sfdisk
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.lvm.install import install
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.plan.values import Plan
from lvpack_agent.undo import Undo


def packed_table(plan: Plan, sources: Sequence[str], index: int = 0) -> str:
    """Return a packed disk as a device-mapper table over the overlay's devices: arithmetic, nothing moves."""
    parts = [
        Linear(device="" if stretch.disk is None else sources[stretch.disk], offset=stretch.offset, size=stretch.size)
        for stretch in stretches(plan, index)
    ]
    assert sum(part.size for part in parts) == plan.target.disks[index].size
    return dmsetup.linear_table(parts)


def packed_disks(
    plan: Plan, sources: Sequence[str], vg_texts: Mapping[str, str], folder: Path, undo: Undo
) -> tuple[str, ...]:
    """Map the packed disks, correct their partition tables and LVM metadata, and return their devices."""
    devices = []
    for index, disk in enumerate(plan.target.disks):
        devices.append(dmsetup.create(f"lvpack-packed{index or ''}", packed_table(plan, sources, index), undo))
        if disk.table:
            sfdisk.write(devices[-1], disk.table, disk.sector_size)
    install(plan.target, devices, "packed", vg_texts, folder)
    return tuple(devices)
