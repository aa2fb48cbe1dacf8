"""A layout's plan: what its disks become."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from lvpack_agent.errors import Refused
from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup
from lvpack_agent.plan.compact import compact, moved
from lvpack_agent.plan.partitions import packed_disk, pv_sizes
from lvpack_agent.plan.refuse import refuse_other_disks
from lvpack_agent.plan.rows import of_disk, of_partitions, of_pvs
from lvpack_agent.plan.sizes import shrunk_lvs, store_needed
from lvpack_agent.plan.values import Plan, Row
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import KIB

# The label and what LVM 2.03.31 takes at least for a metadata area (lib/format_text/layout.h: LABEL_SCAN_SIZE in whole
# pages, MDA_SIZE_MIN), with as much again: a text has to fit twice.
LEAST_METADATA = 68 * KIB


def make_plan(
    source: Layout, margin: Margin, least: Mapping[str, int] = MappingProxyType({}), *, kept: int = 1
) -> Plan:
    """Return the plan that packs the first disks of a layout, as many as kept, each into a disk of its own.

    The PVs of the other disks give their extents to those. least has, by the UUID of an LV, the extents that it keeps
    even if the margin asks for less. Raises Refused for a layout that this version cannot pack.
    """
    refuse_other_disks(source, kept)
    rows: list[Row] = []
    moves: list[Move] = []
    packed_vgs: list[VolumeGroup] = []
    for vg in source.vgs:
        shrunk, how = shrunk_lvs(vg, margin, least)
        homes = _homes(vg, kept)
        going = compact(shrunk, homes)
        packed_vg = moved(shrunk, going, homes)
        pvs = (pv.ending_early(vg.extent_size) for pv in _with_metadata(packed_vg))
        packed_vgs.append(replace(packed_vg, pvs=tuple(pvs)))
        rows += [*how, *of_pvs(source, vg, packed_vgs[-1], going, homes)]
        moves += going
    packed = tuple(packed_disk(disk, pv_sizes(packed_vgs, index)) for index, disk in enumerate(source.disks[:kept]))
    target = Layout(disks=packed, vgs=tuple(packed_vgs))
    partitions = [of_partitions(source, target, index) for index in range(kept)]
    rows = [*(row for same, _ in partitions for row in same), *rows, *(row for _, new in partitions for row in new)]
    rows += [of_disk(old, new) for old, new in zip(source.disks, packed, strict=False)]
    plan = Plan(source=source, target=target, rows=tuple(rows), moves=tuple(moves), store=0)
    return replace(plan, store=store_needed(plan))


def _homes(vg: VolumeGroup, kept: int) -> dict[str, str]:
    """Return, for each PV on a disk that is not kept, what takes its extents: the VG's last PV on a kept disk."""
    home = max((pv for pv in vg.pvs if pv.disk < kept), key=lambda pv: (pv.disk, pv.partition))
    return {pv.uuid: home.uuid for pv in vg.pvs if pv.disk >= kept}


def _with_metadata(vg: VolumeGroup) -> tuple[PhysicalVolume, ...]:
    """Return the PVs of a packed VG; if all its metadata areas were on PVs that are gone, the first PV gets one."""
    first, *rest = vg.pvs
    if any(pv.metadata_areas for pv in vg.pvs):
        return vg.pvs
    if first.pe_start < LEAST_METADATA:
        raise Refused(
            f"cannot collapse VG '{vg.name}': the PV that takes its extents has no metadata area, and no room for "
            "one before its first extent",
            hint="bring the VG to a new PV first (pvcreate, vgextend, pvmove, vgreduce)",
        )
    return (replace(first, metadata_areas=1), *rest)
