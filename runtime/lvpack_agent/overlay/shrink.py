"""Overlay mode: the source is read-only, a copy-on-write store takes every write, the packed disk is a table.

The recipe and its measurements are in the design. Order matters: LVM must never see two copies of a PV, so each
stage closes its mappings before the next opens its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent import parallel
from lvpack_agent.devices import dmsetup, sfdisk
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.devices.lsblk import size_of
from lvpack_agent.errors import LvpackError
from lvpack_agent.filesystems import xfs_rebuild
from lvpack_agent.filesystems.resize import check_filesystem, make_swap, resize_filesystem
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm.rewrite import rewrite
from lvpack_agent.plan.stretches import stretches
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.open import Opened
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.sizes import MIB, human, round_up
from lvpack_agent.snapshots import stores
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo

SOURCE = "lvpack-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaid:
    """Disks under one overlay, in order: a device for each, and the store that takes what is written to them."""

    devices: tuple[str, ...]
    store: Store


@contextmanager
def overlay(disks: Sequence[str], make_store: Callable[[Undo], Store]) -> Iterator[Overlaid]:
    """Put a copy-on-write overlay with a store over disks.

    Whatever fails inside because the store overflowed becomes a Failed that says so.
    """
    with Undo() as undo:
        store = make_store(undo)
        origin, places = _side_by_side(disks, undo) if len(disks) > 1 else (disks[0], [])
        table = dmsetup.snapshot_table(origin, store.device, size_of(origin))
        whole = dmsetup.create(SOURCE, table, undo)
        devices = [
            dmsetup.create(
                f"{SOURCE}{number}",
                dmsetup.linear_table([Linear(device=whole, offset=place.start, size=place.count)]),
                undo,
            )
            for number, place in enumerate(places)
        ]
        try:
            yield Overlaid(devices=tuple(devices or [whole]), store=store)
        except LvpackError:
            dmsetup.store_use(SOURCE)  # a tool that failed on an overflowed store is not the cause
            raise


def _side_by_side(disks: Sequence[str], undo: Undo) -> tuple[str, list[Range]]:
    """Map disks as one device, so that one store serves all; return it, and where each is: from a whole MiB on."""
    pieces: list[Linear] = []
    places: list[Range] = []
    at = 0
    for disk in disks:
        size = size_of(disk)
        places.append(Range(start=at, count=size))
        at = round_up(at + size, MIB)
        pieces.append(Linear(device=disk, offset=0, size=size))
        if at > places[-1].end:
            pieces.append(Linear(device="", offset=0, size=at - places[-1].end))
    return dmsetup.create("lvpack-disks", dmsetup.linear_table(pieces), undo, read_only=True), places


def shrink(
    source: Opened, disks: Sequence[str], plan: Plan, folder: Path, say: Callable[[str], None], *, readback: bool
) -> list[str]:
    """Shrink filesystems and swap in the overlay as planned; return findings: what had to be repaired or is changed.

    disks are the source disks that are under the overlay; folder is a place to mount filesystems at. With readback the
    contents of files that are copied are held against the original's.

    Raises Failed, saying so, if the store overflows on the way.
    """
    progress = Progress("shrink (bytes in the store)", plan.store, say)

    def tick() -> None:
        progress.at(dmsetup.store_use(SOURCE).used)

    def resize(lv: LogicalVolume) -> list[str]:
        device, new = source.lvs[lv.uuid], wanted[lv.uuid]
        findings: list[str] = []
        if lv.content.is_ext:
            if damage := check_filesystem(device, f"LV {lv.name}", say, tick):
                findings.append(f"{damage}; it is repaired in the image, the source still has it")
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
    """Map an LV as it is on the source disks, whatever the overlay took; what is written to it is soon forgotten."""
    under = {
        dmsetup.number(device): (disks[index], source.layout.disks[index].start_of(number))
        for (index, number), device in source.partitions.items()
    }
    table = dmsetup.moved(dmsetup.table(source.lvs[uuid]), under)
    lv = dmsetup.create(f"lvpack-original-{uuid}", table, undo, read_only=True)
    store = stores.in_memory(folder, undo)
    return dmsetup.create(f"lvpack-old-{uuid}", dmsetup.snapshot_table(lv, store.device, size_of(lv)), undo)


def packed_table(plan: Plan, sources: Sequence[str], index: int = 0) -> str:
    """Return a packed disk as a device-mapper table over the overlay's devices: arithmetic, nothing moves."""
    pieces = [
        Linear(device="" if part.disk is None else sources[part.disk], offset=part.offset, size=part.size)
        for part in stretches(plan, index)
    ]
    assert sum(p.size for p in pieces) == plan.target.disks[index].size
    return dmsetup.linear_table(pieces)


def packed_disks(
    plan: Plan, sources: Sequence[str], vg_texts: Mapping[str, str], folder: Path, undo: Undo
) -> tuple[str, ...]:
    """Map the packed disks, correct their partition tables and LVM metadata, and return their devices."""
    devices = []
    for index, disk in enumerate(plan.target.disks):
        devices.append(dmsetup.create(f"lvpack-packed{index or ''}", packed_table(plan, sources, index), undo))
        if disk.table:
            sfdisk.write(devices[-1], disk.table, disk.sector_size)
    for vg in plan.target.vgs:
        with Undo() as pvs_only:
            pvs = {}
            for pv in vg.pvs:
                piece = Linear(device=devices[pv.disk], offset=plan.target.pv_start(pv), size=pv.size)
                name = f"lvpack-packed{pv.disk or ''}-pv{pv.partition}"
                pvs[pv] = dmsetup.create(name, dmsetup.linear_table([piece]), pvs_only)
            lvm.restore_metadata(vg.name, pvs, rewrite(vg_texts[vg.name], vg), folder)
    return tuple(devices)
