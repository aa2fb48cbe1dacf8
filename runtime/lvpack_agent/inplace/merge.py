"""A filesystem resized on a persistent snapshot of its device, checked there, and merged back.

Until the merge begins the device is not written; from then on the store has all that the device lacks, and merging
goes on from it after any interruption (kernel: Documentation/admin-guide/device-mapper/snapshot.rst).

Needs device-mapper: it is tested in guests (qemu-tests/tests/test_inplace.py and test_journal.py, tools/powercuts.py).
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from lvpack_agent.backup.journal_record import Merge
from lvpack_agent.devices import dmsetup, ioerrors
from lvpack_agent.devices.blockdev import flush, size_of
from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.filesystems import ext
from lvpack_agent.filesystems.resize import check_filesystem, resize_filesystem
from lvpack_agent.layout.content import Content
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo

SNAPSHOT, MERGING = "lvpack-snapshot", "lvpack-merge"
POLL_SECONDS = 0.2
# A chunk of the snapshot, which holds the superblock of every ext filesystem (at byte 1024).
HEAD = dmsetup.CHUNK_SECTORS * dmsetup.SECTOR


def head(device: str) -> tuple[str, ...]:
    """Return the SHA-256 of each sector (512 bytes) in the first 4 KiB of a device, read from the disk, not a cache."""
    run(["blockdev", "--flushbufs", device])
    with Path(device).open("rb", buffering=0) as file:
        chunk = file.read(HEAD)
    sectors = [chunk[at : at + dmsetup.SECTOR] for at in range(0, HEAD, dmsetup.SECTOR)]
    return tuple(hashlib.sha256(sector).hexdigest() for sector in sectors)


def _is_between(found: tuple[str, ...], expected: Merge) -> bool:
    """Return whether each sector is as before the merge or as after it.

    A power cut can stop the write of a chunk between any two sectors.
    """
    return all(f in pair for f, *pair in zip(found, expected.before, expected.after, strict=True))


def prepare(
    device: str, name: str, new: Content, store: Store, estimate: int, folder: Path, say: Callable[[str], None]
) -> tuple[Merge, list[str]]:
    """Check and resize the filesystem of a device in a new snapshot, check it there, and close the snapshot.

    The device stays as it is. new.size is the size in bytes that is wanted, estimate how many bytes the store will
    take, 0 if that is not known; folder is a place to mount the filesystem at; name is for messages. Return what will
    be merged, and what was repaired, in words.

    Raises Failed if the filesystem is damaged, does not come out clean, or the store overflows.
    """
    before = head(device)
    size = size_of(device)
    with Undo() as undo:
        table = dmsetup.snapshot_table(device, store.device, size, persistent=True)
        snapshot = dmsetup.create(SNAPSHOT, table, undo)
        progress = Progress("resize (bytes in the store)", estimate, say)

        def tick() -> None:
            progress.at(_use().used)

        try:
            done = check_filesystem(snapshot, name, say, tick)
            if done.damage:
                raise Failed(
                    f"cannot resize {done.damage}",
                    hint="the disk still has it as it was: repair it with e2fsck -f first",
                )
            findings = [done.corrected] if done.corrected else []
            findings += resize_filesystem(snapshot, name, new, folder, say, tick)
            say(f"check {name} before it is merged (read-only)")
            ext.check(snapshot, tick)
            flush(snapshot)
        except (Failed, Refused):
            _use()  # a tool that failed on an overflowed store is not the cause
            raise
        moved = _use().data
        after = head(snapshot)
    flush(store.device)
    return Merge(before=before, after=after, store=store.token, size=moved), findings


def _use() -> dmsetup.StoreUse:
    """Return how full the snapshot's store is. Raises Failed if it took no more."""
    use = dmsetup.parse_snapshot_status(run(["dmsetup", "status", SNAPSHOT]).stdout)
    if use is None and not ioerrors.overflowed(run(["dmesg", "--notime"]).stdout):
        raise Failed(
            "cannot go on: the disk, or what has the store of the snapshot, could not be read or written",
            hint="this filesystem is still as it was; look at dmesg: are the disk, the share, the scratch disk sound?",
        )
    if use is None:
        raise Failed(
            "cannot go on: the store of the snapshot took no more: it is full, or the share or scratch device failed",
            hint="this filesystem is still as it was; make room on the share, or use a larger scratch device",
        )
    return use


def merge(device: str, name: str, expected: Merge, store: Store, say: Callable[[str], None]) -> None:
    """Write what a store holds back to its device, or go on with that after it was cut off.

    expected is what prepare() returned. Return when all is on the device. Raises Disagreement if somebody else has
    written to the filesystem since, Failed if the store cannot be read or the device cannot be written.
    """
    if not _is_between(head(device), expected):
        raise Disagreement(
            f"cannot merge {name}: its superblock is neither the one from before the merge nor the one from after it, "
            "so it was used in between",
            hint="do not start this server: what is on the disk may be half of each; the journal folder on the share "
            "has the store and the layout; see docs/in-place.md",
        )
    size = size_of(device)
    with Undo() as undo:
        dmsetup.create(MERGING, dmsetup.merge_table(device, store.device, size), undo)
        progress = Progress(f"merge {name}", expected.size, say)
        while left := _left(name):
            progress.at(max(0, expected.size - left))
            time.sleep(POLL_SECONDS)
        flush(device)
    if head(device) != expected.after:
        raise Failed(f"cannot merge {name}: it was merged, but its superblock is not the new one")


def _left(name: str) -> int:
    """Return the bytes that are still to be merged. Raises Failed if the kernel gave up."""
    use = dmsetup.parse_snapshot_status(run(["dmsetup", "status", MERGING]).stdout)
    if use is None:
        raise Failed(
            f"cannot merge {name}: the kernel could not read the store or write the disk (see dmesg)",
            hint="do not start this server yet: it is half merged. Check the share, the network and the disk, and boot "
            "lvpack with the same options again: it goes on with the merge",
        )
    return use.data
