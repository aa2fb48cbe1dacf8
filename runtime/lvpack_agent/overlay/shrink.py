"""Filesystems and swap made smaller in the overlay.

Tested in guests, as it needs device-mapper: qemu-tests/tests/test_main_job.py, test_xfs.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from lvpack_agent import parallel
from lvpack_agent.devices import dmsetup
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.filesystems import xfs_rebuild
from lvpack_agent.filesystems.resize import check_filesystem, make_swap, resize_filesystem
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.open import Opened
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.sizes import human
from lvpack_agent.snapshots import stores
from lvpack_agent.snapshots.overlay import SOURCE
from lvpack_agent.undo import Undo


def shrink(
    source: Opened, disks: Sequence[str], plan: Plan, folder: Path, say: Callable[[str], None], *, readback: bool
) -> list[str]:
    """Shrink filesystems and swap in the overlay as planned; return findings: what was repaired, or has changed.

    disks are the source disks under the overlay; folder is a place to mount filesystems at. With readback the contents
    of files that are copied are compared with the originals.

    Raises Failed if the store overflows.
    """
    progress = Progress("shrink (bytes in the store)", plan.store, say)

    def tick() -> None:
        progress.at(dmsetup.store_use(SOURCE).used)

    def resize(lv: LogicalVolume) -> list[str]:
        device, new = source.lvs[lv.uuid], wanted[lv.uuid]
        findings: list[str] = []
        if lv.content.is_ext:
            done = check_filesystem(device, f"LV {lv.name}", say, tick)
            if done.corrected:
                findings.append(f"{done.corrected}; that is so in the image, the source is as it was")
            if done.damage:
                findings.append(f"{done.damage}; it is repaired in the image, the source still has it")
            findings += resize_filesystem(device, f"LV {lv.name}", new, folder / lv.uuid, say, tick)
        elif lv.content.rebuilt and new.size != lv.content.size:
            say(f"make LV {lv.name}, an XFS, anew: {human(lv.content.size)} to {human(new.size)}")
            with Undo() as undo:
                old = _original(lv.uuid, source, disks, folder / f"{lv.uuid}-log", undo)
                different = xfs_rebuild.rebuild(device, old, new.size, folder / lv.uuid, readback, tick)
                findings += [f"LV {lv.name} is an XFS made anew: {finding}" for finding in different]
        elif lv.content.type == "swap":
            make_swap(device, new)
        return findings

    wanted = {new.uuid: new.content for _, new in plan.lvs()}
    # In RAM the store takes memory while the tools run.
    findings = parallel.each(resize, [old for old, _ in plan.lvs()], reserved=plan.store)
    run(["sync"])
    dmsetup.store_use(SOURCE)
    return [finding for found in findings for finding in found]


def _original(uuid: str, source: Opened, disks: Sequence[str], folder: Path, undo: Undo) -> str:
    """Map an LV as it is on the source disks, without the overlay's writes; what is written to it goes with undo."""
    under = {
        dmsetup.number(device): (disks[index], source.layout.disks[index].start_of(number))
        for (index, number), device in source.partitions.items()
    }
    table = dmsetup.moved(dmsetup.table(source.lvs[uuid]), under)
    lv = dmsetup.create(f"lvpack-original-{uuid}", table, undo, read_only=True)
    store = stores.in_memory(folder, undo)
    return dmsetup.create(f"lvpack-old-{uuid}", dmsetup.snapshot_table(lv, store.device, size_of(lv)), undo)
