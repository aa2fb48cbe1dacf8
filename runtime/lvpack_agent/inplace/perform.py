"""How each step on partitions and LVs is done, by its type; the partition table is run's.

Needs a machine: it is tested in guests (qemu-tests/tests/test_inplace.py, tools/powercuts.py).
"""

from typing import assert_never

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems.resize import make_swap
from lvpack_agent.inplace import refuse
from lvpack_agent.inplace.disk import Volumes, disagree
from lvpack_agent.inplace.resize import resize
from lvpack_agent.inplace.steps import (
    AddArea,
    ExtendLv,
    MakeSwap,
    MarkVg,
    MoveExtents,
    ReduceLv,
    RemoveArea,
    ResizeFilesystem,
    ResizePv,
    VolumeStep,
)
from lvpack_agent.inplace.work import Work
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import pvlabel, pvmove, rewrite, tags
from lvpack_agent.processes import run


def perform(step: VolumeStep, work: Work, volumes: Volumes, wanted: VolumeGroup) -> None:
    """Do a step, or what an earlier boot left of it; then the VG's extents are as wanted, once the disk is flushed."""
    match step:
        case MarkVg():
            _mark(step, volumes)
        case ResizeFilesystem():
            resize(step, work, volumes)
        case MakeSwap():
            _make_swap(step, volumes.lvs[step.lv])
        case ReduceLv():
            refuse.cut_content(volumes.lvs[step.lv], step)
            lvm.reduce(volumes.vg, volumes.names[step.lv], step.extents, volumes.pv)
        case ExtendLv():
            _extend(step, work, volumes, wanted)
        case MoveExtents():
            _move(step, work, volumes)
        case RemoveArea():
            pvlabel.remove_second_area(volumes.pv)
        case AddArea():
            # Its first page may hold the end of the last extent, which was written by another way.
            run(["blockdev", "--flushbufs", volumes.pv])
            pvlabel.add_second_area(volumes.pv, step.area)
        case ResizePv():
            vg = work.source_vg
            lvm.resize_pv(volumes.pv, vg.pvs[0].pe_start + step.extents * vg.extent_size)
        case _:
            assert_never(step)


def _mark(step: MarkVg, volumes: Volumes) -> None:
    """Set or remove the tag of an unfinished run; those of earlier merges go in either case."""
    merges = [f"{tags.MERGE_TAG}{token}" for token in tags.merges(volumes.report().tags)]
    if step.on:
        lvm.tag(volumes.vg, volumes.pv, add=[tags.TAG], remove=merges)
    else:
        lvm.tag(volumes.vg, volumes.pv, remove=[tags.TAG, *merges])


def _make_swap(step: MakeSwap, device: str) -> None:
    refuse.suspended(step.name, device)
    if (kind := blkid.identify(device).get("TYPE", "swap")) != "swap":
        raise disagree(f"{step.name} holds {kind}")
    make_swap(device, step.new)


def _extend(step: ExtendLv, work: Work, volumes: Volumes, wanted: VolumeGroup) -> None:
    """Extend an LV by lvextend(8), or, if it was striped before the run, by the metadata itself."""
    [former] = [lv for lv in work.source_vg.lvs if lv.uuid == step.lv]
    if any(s.others for s in former.segments):
        _rewrite(work, volumes, wanted)
    else:
        lvm.extend(volumes.vg, volumes.names[step.lv], step.segment.pe, step.segment.count, volumes.pv)


def _rewrite(work: Work, volumes: Volumes, wanted: VolumeGroup) -> None:
    """Give LVs the wanted segments by changing the VG's metadata as a text.

    lvextend(8) puts stripes on one PV side by side only, and no linear segment after a striped one (LVM 2.03.31).
    """
    backup = work.journal.folder / "layout" / f"{volumes.vg}.vgcfgbackup"
    former = backup.read_bytes().decode("utf-8", "surrogateescape")
    lvm.deactivate(volumes.vg, [volumes.pv])
    text = lvm.metadata_text(volumes.vg, [volumes.pv], work.folder)
    lvm.change_metadata(volumes.vg, rewrite.with_segments(text, wanted, former), volumes.pv, work.folder)
    lvm.activate(volumes.vg, [volumes.pv])


def _move(step: MoveExtents, work: Work, volumes: Volumes) -> None:
    """Begin a pvmove, or go on with the one that was cut off, and finish it."""
    size = step.move.count * work.source_vg.extent_size
    moving = pvmove.under_way(volumes.report()) or pvmove.begin(volumes.vg, volumes.pv, step.move)
    pvmove.finish(moving, volumes.pv, size, work.flush, work.session.say)
