"""Recordings of every layout that LVM can make: README in each folder has the commands that made it and each file."""

from dataclasses import replace
from pathlib import Path

from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import vgreport

LAYOUTS = Path(__file__).parents[2] / "data/layouts"


def reported(name: str) -> vgreport.Vg:
    """Return the VG of a recording, by the name of its folder."""
    [vg] = vgreport.parse((LAYOUTS / name / "fullreport.json").read_text())
    return vg


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
