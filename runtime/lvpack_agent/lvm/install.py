"""VGs written to disks: the headers of their PVs, and their metadata text changed to what was planned.

Tested in guests, as LVM needs device-mapper: qemu-tests/tests/test_main_job.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.layout.layout import Layout
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm.rewrite import rewrite
from lvpack_agent.undo import Undo


def install(layout: Layout, devices: Sequence[str], tag: str, vg_texts: Mapping[str, str], folder: Path) -> None:
    """Write the VGs of a layout to its disks, which are devices that have its partition tables.

    vg_texts has a text of each VG by its name, with the same PVs and LVs (lvm.rewrite); tag names the mappings of the
    PVs; folder is for small files.
    """
    for vg in layout.vgs:
        with Undo() as pvs_only:
            pvs = {}
            for pv in vg.pvs:
                whole = Linear(device=devices[pv.disk], offset=layout.pv_start(pv), size=pv.size)
                name = f"lvpack-{tag}{pv.disk or ''}-pv{pv.partition}"
                pvs[pv] = dmsetup.create(name, dmsetup.linear_table([whole]), pvs_only)
            lvm.restore_metadata(vg.name, pvs, rewrite(vg_texts[vg.name], vg), folder)
