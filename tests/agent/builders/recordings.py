"""Recordings of every layout that LVM can make: README in each folder has the commands that made it and each file."""

from pathlib import Path

from lvpack_agent.lvm import vgreport

LAYOUTS = Path(__file__).parents[2] / "data/layouts"


def reported(name: str) -> vgreport.Vg:
    """Return the VG of a recording, by the name of its folder."""
    [vg] = vgreport.parse((LAYOUTS / name / "fullreport.json").read_text())
    return vg
