"""Recordings of every layout that LVM can make, read.

tests/data/layouts: README in each folder has the commands that made the layout and each file.
"""

from dataclasses import replace
from pathlib import Path

from lvpack_agent.devices import lsblk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.lvm import vgreport

DATA = Path(__file__).parents[2] / "data/layouts"


NAMES = sorted(path.name for path in DATA.iterdir() if path.is_dir())


def reported(name: str) -> vgreport.Vg:
    """Return the VG of a recording."""
    [vg] = vgreport.parse((DATA / name / "fullreport.json").read_text())
    return vg


def listed(name: str) -> tuple[BlockDevice, ...]:
    """Return the disks of a recording that hold anything."""
    found = lsblk.parse((DATA / name / "lsblk.json").read_text())
    return tuple(d for d in found if d.fstype or d.parts)


def lv(vg: vgreport.Vg, name: str) -> vgreport.Lv:
    return next(lv for lv in vg.lvs if lv.name == name)


def only(vg: vgreport.Vg, names: list[str]) -> vgreport.Vg:
    """Return a VG as it would be with the LVs of these names, and those hidden in them, alone."""

    def among(lv: vgreport.Lv) -> bool:
        return any(lv.name == name or lv.name.startswith(f"{name}_") for name in names)

    return replace(vg, lvs=tuple(lv for lv in vg.lvs if among(lv)))
