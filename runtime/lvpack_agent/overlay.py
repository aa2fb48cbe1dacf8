"""Overlay mode: the source is read-only, a copy-on-write store takes every write, the packed disk is a table.

The recipe and its measurements are in the design. Order matters: LVM must never see two copies of a PV, so each
stage closes its mappings before the next opens its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent import lvm, mappings, parallel, partitions
from lvpack_agent.errors import LvpackError
from lvpack_agent.layout import LogicalVolume
from lvpack_agent.mappings import Linear
from lvpack_agent.metadata import rewrite
from lvpack_agent.plan import Plan
from lvpack_agent.probe import Opened
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.shrink import check_filesystem, make_swap, resize_filesystem
from lvpack_agent.stores import Store
from lvpack_agent.undo import Undo

SOURCE = "lvpack-source"


@contextmanager
def overlay(disk: str, make_store: Callable[[Undo], Store]) -> Iterator[tuple[str, Store]]:
    """Put a copy-on-write overlay with a store over a disk; yield the overlay's device and the store.

    Whatever fails inside because the store overflowed becomes a Failed that says so.
    """
    with Undo() as undo:
        store = make_store(undo)
        size = int(run(["blockdev", "--getsize64", disk]).stdout)
        device = mappings.create(SOURCE, mappings.snapshot_table(disk, store.device, size), undo)
        try:
            yield device, store
        except LvpackError:
            mappings.store_use(SOURCE)  # a tool that failed on an overflowed store is not the cause
            raise


def shrink(source: Opened, plan: Plan, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Shrink filesystems and swap in the overlay as planned; return findings: what had to be repaired or is changed.

    folder is a place to mount a filesystem at.

    Raises Failed, saying so, if the store overflows on the way.
    """
    progress = Progress("shrink (bytes in the store)", plan.store, say)

    def tick() -> None:
        progress.at(mappings.store_use(SOURCE).used)

    def resize(lv: LogicalVolume) -> list[str]:
        device, new = source.lvs[lv.uuid], wanted[lv.uuid]
        findings: list[str] = []
        if lv.content.is_ext:
            if damage := check_filesystem(device, f"LV {lv.name}", say, tick):
                findings.append(f"{damage}; it is repaired in the image, the source still has it")
            findings += resize_filesystem(device, f"LV {lv.name}", new, folder / lv.name, say, tick)
        elif lv.content.type == "swap":
            make_swap(device, new)
        return findings

    wanted = {lv.uuid: lv.content for lv in plan.target.vgs[0].lvs}
    # In RAM the store takes memory while the tools run.
    findings = parallel.each(resize, plan.source.vgs[0].lvs, reserved=plan.store)
    run(["sync"])
    mappings.store_use(SOURCE)
    return [finding for found in findings for finding in found]


def packed_table(plan: Plan, source: str) -> str:
    """Return the packed disk as a device-mapper table over the overlay: arithmetic, nothing moves."""
    disk, vg, target = plan.source.disks[0], plan.source.vgs[0], plan.target
    pv = vg.pvs[0]
    start = plan.source.pv_partition(pv).start + pv.pe_start
    pieces = [Linear(device=source, offset=0, size=start)]
    for move in sorted(plan.moves, key=lambda m: m.target):
        pieces.append(
            Linear(device=source, offset=start + move.source * vg.extent_size, size=move.count * vg.extent_size)
        )
    tail = plan.packed_size - sum(p.size for p in pieces)
    table = target.disks[0].table
    if tail and table and table.label == "gpt":
        # The source's own backup GPT is there; sfdisk writes the new one over it, in the overlay.
        pieces.append(Linear(device=source, offset=disk.size - tail, size=tail))
    elif tail:
        pieces.append(Linear(device="", offset=0, size=tail))
    assert sum(p.size for p in pieces) == plan.packed_size
    return mappings.linear_table(pieces)


def packed_disk(plan: Plan, source: str, vg_text: str, folder: Path, undo: Undo) -> str:
    """Map the packed disk, correct its partition table and LVM metadata, and return its device."""
    device = mappings.create("lvpack-packed", packed_table(plan, source), undo)
    disk, vg = plan.target.disks[0], plan.target.vgs[0]
    assert disk.table is not None
    partitions.write(device, disk.table, disk.sector_size)
    partition = plan.target.pv_partition(vg.pvs[0])
    with Undo() as pv_only:
        piece = Linear(device=device, offset=partition.start, size=partition.size)
        pv = mappings.create("lvpack-packed-pv", mappings.linear_table([piece]), pv_only)
        lvm.restore_metadata(vg.name, vg.pvs[0].uuid, pv, rewrite(vg_text, vg), folder)
    return device
