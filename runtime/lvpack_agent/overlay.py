"""Overlay mode: the source is read-only, a copy-on-write store takes every write, the packed disk is a table.

The recipe and its measurements are in the design. Order matters: LVM must never see two copies of a PV, so each
stage closes its mappings before the next opens its own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent import dirtimes, ext, frames, lvm, mappings, partitions, swap
from lvpack_agent.errors import Failed, LvpackError
from lvpack_agent.mappings import Linear
from lvpack_agent.metadata import rewrite
from lvpack_agent.plan import Plan
from lvpack_agent.probe import Opened
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.sizes import MIB, human
from lvpack_agent.undo import Undo

SOURCE = "lvpack-source"

# What the tools and the page cache must keep beside the store and the compressors: e2fsck and resize2fs hold a few
# bitmaps (an eighth of a byte for each block), Python a few ten MiB.
MEMORY_RESERVE = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A copy-on-write store: a block device and its size in bytes."""

    device: str
    size: int


def available_memory() -> int:
    """Return the bytes that programs may still take (kernel: Documentation/filesystems/proc.rst, MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Failed("cannot read the memory there is: /proc/meminfo has no MemAvailable")


def room_for_store() -> int:
    """Return the bytes of memory that a store in RAM may grow to, in whole MiB."""
    reserve = MEMORY_RESERVE + frames.worker_count() * frames.WORKER_MEMORY
    return max(0, available_memory() - reserve) // MIB * MIB


def ram_store(folder: Path, undo: Undo) -> Store:
    """Make a store in RAM: a sparse file on a tmpfs of its own, as a loop device; memory is taken as it fills."""
    size = max(room_for_store(), 4 * MIB)
    folder.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={size + 4 * MIB},mode=0700", "lvpack-store", str(folder)])
    undo.callback(run, ["umount", str(folder)])
    path = folder / "store"
    with path.open("wb") as file:
        file.truncate(size)
    device = run(["losetup", "--find", "--show", str(path)]).stdout.strip()
    undo.callback(run, ["losetup", "--detach", device])
    return Store(device=device, size=size)


@contextmanager
def overlay(disk: str, folder: Path) -> Iterator[tuple[str, Store]]:
    """Put a copy-on-write overlay with a store in RAM over a disk; yield the overlay's device and the store.

    Whatever fails inside because the store overflowed becomes a Failed that says so.
    """
    with Undo() as undo:
        store = ram_store(folder, undo)
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

    findings = []
    for old, new in zip(plan.source.vgs[0].lvs, plan.target.vgs[0].lvs, strict=True):
        device = source.lvs[old.uuid]
        if old.content.is_ext:
            say(f"check {old.content.type} on LV {old.name}")
            if finding := ext.repair(device, tick):
                findings.append(f"LV {old.name}: e2fsck repaired its copy: {finding}; the source has this damage")
            if new.content.size < old.content.size:
                say(f"shrink LV {old.name} from {human(old.content.size)} to {human(new.content.size)}")
                with ExitStack() as times:
                    if ext.read(device).has_inodes_beyond(new.content.size):
                        say("the times of its directories are kept")
                        times.enter_context(dirtimes.kept(device, folder, findings))
                    ext.resize(device, new.content.size, tick)
        elif old.content.type == "swap":
            swap.make(
                device,
                size=new.content.size,
                page_size=old.content.block_size,
                uuid=old.content.uuid,
                label=old.content.label,
            )
    run(["sync"])
    mappings.store_use(SOURCE)
    return findings


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
