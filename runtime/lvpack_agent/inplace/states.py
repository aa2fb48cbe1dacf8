"""What the steps of an in-place run make of the VG: by this a boot tells from the disk how far an earlier one came."""

from collections.abc import Iterable
from dataclasses import replace

from lvpack_agent.inplace.steps import AddArea, ExtendLv, MarkVg, MoveExtents, ReduceLv, RemoveArea, ResizePv, Step
from lvpack_agent.layout.extents import joined_segments
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.plan.compact import relocated, truncated


def marks(steps: Iterable[Step]) -> tuple[bool, ...]:
    """Return whether the VG has the tag of an unfinished run (lvm.tags.TAG) before the first step, and after each."""
    found = [False]
    for step in steps:
        found.append(step.on if isinstance(step, MarkVg) else found[-1])
    return tuple(found)


def states(vg: VolumeGroup, steps: tuple[Step, ...]) -> tuple[VolumeGroup, ...]:
    """Return the VG as it is before the first step, and after each."""
    found = [vg]
    for step in steps:
        found.append(after(found[-1], step))
    return tuple(found)


def after(vg: VolumeGroup, step: Step) -> VolumeGroup:
    """Return the VG after a step: LVs, extents, metadata areas. What its LVs hold is left as it was."""
    match step:
        case ReduceLv():
            return _with_lv(vg, truncated(_lv(vg, step.lv), step.extents))
        case ExtendLv():
            lv = _lv(vg, step.lv)
            assert lv.extents == step.segment.le, step
            return _with_lv(vg, replace(lv, segments=joined_segments((*lv.segments, step.segment))))
        case MoveExtents():
            return relocated(vg, step.move)
        case ResizePv():
            return replace(vg, pvs=(replace(vg.pvs[0], extents=step.extents),))
        case RemoveArea():
            return replace(vg, pvs=(replace(vg.pvs[0], metadata_areas=1),))
        case AddArea():
            return replace(vg, pvs=(replace(vg.pvs[0], metadata_areas=2),))
        case _:
            return vg


def _lv(vg: VolumeGroup, uuid: str) -> LogicalVolume:
    return next(lv for lv in vg.lvs if lv.uuid == uuid)


def _with_lv(vg: VolumeGroup, lv: LogicalVolume) -> VolumeGroup:
    return replace(vg, lvs=tuple(lv if old.uuid == lv.uuid else old for old in vg.lvs))


def same_extents(one: VolumeGroup, other: VolumeGroup) -> bool:
    """Return whether two VGs have the same LVs on the same extents, and the same PVs.

    PVs are the same if they have as many extents, from the same byte on, and as many metadata areas.
    """

    def shape(vg: VolumeGroup) -> object:
        pvs = {pv.uuid: (pv.pe_start, pv.extents, pv.metadata_areas) for pv in vg.pvs}
        return vg.uuid, vg.extent_size, pvs, {lv.uuid: joined_segments(lv.segments) for lv in vg.lvs}

    return shape(one) == shape(other)
