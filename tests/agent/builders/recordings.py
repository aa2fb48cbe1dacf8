"""Recordings of every layout that LVM can make, read.

tests/data/layouts: README in each folder has the commands that made the layout and each file.
"""

from dataclasses import replace
from pathlib import Path

from lvpack_agent.devices import lsblk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import vgreport

LAYOUTS = Path(__file__).parents[2] / "data/layouts"


NAMES = sorted(path.name for path in LAYOUTS.iterdir() if path.is_dir())


def reported(name: str) -> vgreport.Vg:
    """Return the VG of a recording."""
    [vg] = vgreport.parse((LAYOUTS / name / "fullreport.json").read_text())
    return vg


def listed(name: str) -> tuple[BlockDevice, ...]:
    """Return the disks of a recording that hold anything."""
    found = lsblk.parse((LAYOUTS / name / "lsblk.json").read_text())
    return tuple(d for d in found if d.fstype or d.parts)


def lv(vg: vgreport.Vg, name: str) -> vgreport.Lv:
    return next(lv for lv in vg.lvs if lv.name == name)


def only(vg: vgreport.Vg, names: list[str]) -> vgreport.Vg:
    """Return a VG as it would be with the LVs of these names, and those hidden in them, alone."""

    def among(lv: vgreport.Lv) -> bool:
        return any(lv.name == name or lv.name.startswith(f"{name}_") for name in names)

    return replace(vg, lvs=tuple(lv for lv in vg.lvs if among(lv)))


def as_reported(vg: VolumeGroup, like: vgreport.Vg) -> vgreport.Vg:
    """Return what LVM would report of a VG of one PV that was as like, and has other extents now."""
    [pv], [now] = like.pvs, vg.pvs

    def segment(s: Segment) -> vgreport.Segment:
        ranges = tuple(f"{pv.device}:{area.pe}-{area.pe + s.length - 1}" for area in s.areas)
        kind = "striped" if s.others else "linear"
        return vgreport.Segment(type=kind, start=s.le, count=s.count, ranges=ranges, stripe_size=s.stripe_size)

    segments = {lv.uuid: tuple(segment(s) for s in lv.segments) for lv in vg.lvs}
    return replace(
        like,
        pvs=(replace(pv, extents=now.extents, metadata_areas=now.metadata_areas),),
        lvs=tuple(replace(lv, segments=segments[lv.uuid]) for lv in like.lvs),
    )
