"""Growing disks that a restore has written, while they have no partition tables: these come when all was checked.

Tested in guests, as it needs device-mapper: qemu-tests/tests/test_grow.py.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lvpack_agent import parallel
from lvpack_agent.devices import direct, dmsetup, sfdisk
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.devices.dmsetup import Linear
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import growing
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout, differences
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm.install import install
from lvpack_agent.plan.grow import Growth
from lvpack_agent.plan.partitions import FIRST_LOGICAL, gpt_tail
from lvpack_agent.probe.open import opened
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run
from lvpack_agent.restore.target import HEAD, put_head
from lvpack_agent.restore.write import naming
from lvpack_agent.session import Session
from lvpack_agent.snapshots.stores import attached
from lvpack_agent.undo import Undo

HINT = "lvpack.grow=none restores the layout as it was packed, to be grown by hand"


def grow(growth: Growth, heads: Sequence[bytes], folder: Path, session: Session) -> list[bytes]:
    """Grow disks whose images were written but for their heads, the first bytes; return their ends (write_ends()).

    All goes through mappings in which a file in memory stands for the head, and, of a disk with a GPT, for the last
    bytes, where the table has its copy. The disks themselves have neither all the while: nothing takes one for a good
    one. What has grown is probed and checked like what was packed. folder is for mounts and small files, in memory.
    Raises Failed, with what else could be done, if something does not grow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"head{index}" for index in range(len(heads))]
    with _or_as_packed():
        with Undo() as undo:
            devices = [
                _with_head(disk, index, file, head, undo)
                for index, (disk, file, head) in enumerate(zip(growth.target.disks, files, heads, strict=True))
            ]
            _grow(growth, devices, folder, session)
        run(["sync"])
        return [_taken(file) for file in files]


@contextmanager
def _or_as_packed() -> Iterator[None]:
    try:
        yield
    except Failed as failed:
        hint = f"{failed.hint}; {HINT}" if failed.hint else HINT
        raise Failed(failed.message, hint=hint, remains=failed.remains) from failed


def _with_head(disk: Disk, index: int, file: Path, head: bytes, undo: Undo) -> str:
    """Map a disk with a file as its first bytes, and as its last ones if it has a GPT; return the mapping."""
    tail = _tail(disk)
    file.write_bytes(head + tail)
    loop, rest = attached(file, undo), disk.size - len(head) - len(tail)
    parts = [
        Linear(device=loop, offset=0, size=len(head)),
        Linear(device=disk.path, offset=len(head), size=rest),
        *([Linear(device=loop, offset=len(head), size=len(tail))] if tail else []),
    ]
    return dmsetup.create(f"lvpack-grow{index or ''}", dmsetup.linear_table(parts), undo)


def _tail(disk: Disk) -> bytes:
    """Return the last bytes of a disk that stay in memory: those of a GPT's copy, and what else is there."""
    count = gpt_tail(disk)
    with Path(disk.path).open("rb") as file:
        file.seek(disk.size - count)
        return file.read(count)


def _taken(file: Path) -> bytes:
    head = file.read_bytes()
    file.unlink()
    return head


def _grow(growth: Growth, devices: Sequence[str], folder: Path, session: Session) -> None:
    for device, old, new in zip(devices, growth.packed.disks, growth.target.disks, strict=True):
        _write_table(device, old, new)
    target, sources = growth.target, tuple(zip(devices, growth.target.disks, strict=True))
    with opened(sources, "written", estimate=False) as written:
        _refuse_other(replace(growth.packed, disks=target.disks), written.layout, devices)
        texts = {vg.name: lvm.metadata_text(vg.name, written.pvs, folder) for vg in target.vgs}
    larger = [new for old, new in zip(growth.packed.vgs, target.vgs, strict=True) if old != new]
    session.say(f"grow {len(larger)} VG{'' if len(larger) == 1 else 's'}: PVs and LVs")
    install(replace(target, vgs=tuple(larger)), devices, "grow", texts, folder)
    with opened(sources, "grown", estimate=False) as found:
        made = _grow_contents(growth, found.lvs, folder, session)
    vgs = tuple(replace(vg, lvs=tuple(replace(lv, content=made[lv.uuid]) for lv in vg.lvs)) for vg in target.vgs)
    with verified(devices, replace(target, vgs=vgs), session.say):
        pass


def _write_table(device: str, packed: Disk, grown: Disk) -> None:
    """Write the table of a disk that has grown. Raises Failed if the one that was restored is not as the set says."""
    if packed.table is None or grown.table is None:
        return
    # Logical partitions stand in a chain of records, which has links to where they were.
    chained = any(
        old.start != new.start for old, new in zip(packed.rows, grown.rows, strict=True) if old.number >= FIRST_LOGICAL
    )
    found, sector = sfdisk.read(device)
    if not chained and (found is None or found.bare() != packed.table.bare()):
        raise Failed(f"cannot trust '{grown.path}': its partition table is not that of the image set")
    sfdisk.write(device, grown.table, sector)


def _refuse_other(expected: Layout, found: Layout, devices: Sequence[str]) -> None:
    """Raise Failed unless what was written is what the set says: how it grows follows from that."""

    def bare(layout: Layout) -> Layout:
        # A PV may be smaller than its partition.
        vgs = (replace(vg, pvs=tuple(replace(pv, size=0) for pv in vg.pvs)) for vg in layout.vgs)
        return replace(layout, vgs=tuple(vgs))

    if lines := differences(bare(expected), bare(found)):
        names = "' and '".join(devices)
        raise Failed(f"cannot trust '{names}': it is not what the image set says: " + "; ".join(lines[:5]))


def _grow_contents(growth: Growth, devices: Mapping[str, str], folder: Path, session: Session) -> dict[str, Content]:
    """Grow filesystems and swap to what is planned; return what LVs hold then, by their UUIDs."""

    def one(lvs: tuple[LogicalVolume, LogicalVolume, LogicalVolume]) -> tuple[str, Content]:
        source, packed, new = lvs
        content = growing.grow(
            devices[new.uuid],
            new.name,
            packed.content,
            new.content,
            source.content.groups,
            folder / new.uuid,
            session.say,
            session.warn,
        )
        return new.uuid, content

    return dict(parallel.each(one, list(growth.lvs())))


def write_ends(fds: Sequence[int], ends: Sequence[bytes], targets: Sequence[BlockDevice]) -> None:
    """Write the ends of open disks on which all else is, the first disk's last of all, and read them again.

    An end is what a disk's first bytes shall be (target.HEAD), and then its last ones, if these are not there yet; the
    last bytes are written first.
    """
    for disk in targets:
        # What was read of it by other ways is forgotten: mappings have written to it.
        run(["blockdev", "--flushbufs", disk.path])
    disks = tuple(reversed(tuple(zip(fds, ends, targets, strict=True))))
    for fd, end, disk in disks:
        with naming(disk):
            os.pwrite(fd, end[HEAD:], disk.size - len(end[HEAD:]))
            os.fsync(fd)
    for fd, end, disk in disks:
        with naming(disk):
            put_head(fd, end[:HEAD])
    for _, end, disk in disks:
        head, tail = end[:HEAD], end[HEAD:]
        if _read(disk, 0, len(head)) != head or _read(disk, disk.size - len(tail), len(tail)) != tail:
            raise Failed(
                f"cannot trust disk '{disk.path}': it does not read back what was written to its begin and its end",
                hint="the disk, its cable or the memory is faulty: test them before using this machine",
            )
        run(["blockdev", "--flushbufs", disk.path])


def _read(disk: BlockDevice, start: int, count: int) -> bytes:
    """Return bytes of a disk itself; start and count are whole sectors."""
    with DirectReader(disk.path) as reader:
        ends = [min(at + direct.MOST, start + count) for at in range(start, start + count, direct.MOST)]
        return b"".join(
            reader.read(at, end - at) for at, end in zip(range(start, start + count, direct.MOST), ends, strict=True)
        )
