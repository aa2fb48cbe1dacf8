"""lvpack.action=restore: an image set written to a disk that is empty or may be overwritten, then read again."""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lvpack_agent import disks, imageset, partitions, shares, streams
from lvpack_agent.disks import BlockDevice
from lvpack_agent.emptiness import what_holds
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.imageset import Manifest
from lvpack_agent.layout import Range
from lvpack_agent.mappings import SECTOR
from lvpack_agent.options import Settings
from lvpack_agent.processes import run as run_tool
from lvpack_agent.progress import Progress
from lvpack_agent.report import Run
from lvpack_agent.sizes import MIB, human
from lvpack_agent.streams import is_zero
from lvpack_agent.undo import Undo
from lvpack_agent.verification import verified

# The first MiB holds the boot sector and the partition table. It is written last, when all the rest has arrived
# unharmed: a restore that was cut off leaves a disk that nothing takes for a good one.
HEAD = MIB
SYNC_EVERY = 64 * MIB

# Writes zeros to a range of bytes, in multiples of 512 (kernel: include/uapi/linux/fs.h, _IO(0x12, 127)).
BLKZEROOUT = 0x127F


def restore(settings: Settings, run: Run, scratch: Path) -> str:
    """Write an image set to the target disk and verify it; return the closing message."""
    with Undo() as undo:
        with run.phase("share"):
            url, name = shares.parse(settings.source).parent()
            share = undo.enter_context(shares.mounted(url, scratch / "share", run.say, read_only=True))
            run.name = name
            manifest = imageset.read_manifest(share / name)
        with run.phase("probe"):
            target = choose_target(disks.read(), manifest, settings)
            run.disk = target.path
            run.say(f"target: {target.describe()}")
            others = tuple(d for d in disks.read() if d.path != target.path)
            disks.set_read_only(others, undo)
        run.sizes |= {
            "target_disk": target.size,
            "packed_disk": manifest.checksums.raw_size,
            "image": manifest.checksums.stored_size,
        }
        with _exclusively(target.path) as fd, _unusable_if_cut_off(target.path), run.phase("write"):
            _write(fd, share / name, manifest, target, run)
        with _unusable_if_cut_off(target.path), run.phase("verify"):
            _verify(manifest, target, run)
    return f"restored image set {name} ({human(manifest.checksums.raw_size)}) to disk {target.path}"


def choose_target(all_disks: tuple[BlockDevice, ...], manifest: Manifest, settings: Settings) -> BlockDevice:
    """Return the disk to write. Raises Refused if it is not clear which, too small, or not empty."""
    candidates = disks.select(all_disks, settings.disk)
    if len(candidates) != 1:
        raise Refused(
            f"cannot choose the target disk: there are {len(candidates)}",
            hint="name one with lvpack.disk=: " + ("; ".join(d.describe() for d in candidates) or "there is none"),
        )
    [target] = candidates
    packed = manifest.packed.disks[0]
    if target.size < packed.size:
        raise Refused(
            f"cannot restore to '{target.path}': it has {target.size:,} bytes, the image needs {packed.size:,}",
            hint=f"use a disk of at least {human(packed.size)}",
        )
    if target.sector_size != packed.sector_size:
        raise Refused(
            f"cannot restore to '{target.path}': its sectors are {target.sector_size} bytes, the source's were "
            f"{packed.sector_size}",
            hint="partition tables and filesystems depend on it: use a disk with the same sector size",
        )
    if target.read_only:
        raise Refused(f"cannot restore to '{target.path}': it is read-only", hint="remove its write protection")
    held = what_holds(target)
    if held and not settings.overwrite:
        raise Refused(
            f"cannot restore to '{target.path}': it is not empty, it holds {held}",
            hint="lvpack.overwrite=yes writes over it; everything on it is lost then",
        )
    return target


@contextmanager
def _exclusively(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)  # O_EXCL: fails while anything uses the disk
    except OSError as error:
        raise Refused(f"cannot restore to '{path}': {error.strerror}", hint="something uses this disk") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _put(fd: int, data: bytes, offset: int) -> None:
    if data and len(data) % SECTOR == 0 and is_zero(data):
        # The disk may have a command for it, and what stood there before must go.
        fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", offset, len(data)))
        return
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, offset)
        rest, offset = rest[count:], offset + count


def _write(fd: int, folder: Path, manifest: Manifest, target: BlockDevice, run: Run) -> None:
    promised = manifest.checksums.raw_size
    head = bytearray()
    at = synced = 0
    progress = Progress("restore", promised, run.say)

    def sink(data: bytes) -> None:
        nonlocal at, synced
        if at + len(data) > promised:
            raise Failed(f"cannot restore: the image is longer than the {promised:,} bytes that the manifest promises")
        room = HEAD - len(head)
        head.extend(data[:room])
        _put(fd, data[room:] if room else data, at + min(room, len(data)))
        at += len(data)
        if at - synced >= SYNC_EVERY:
            os.fdatasync(fd)  # keeps progress honest, and dirty pages few
            os.posix_fadvise(fd, synced, at - synced, os.POSIX_FADV_DONTNEED)
            synced = at
        progress.add(len(data))

    try:
        os.pwrite(fd, bytes(HEAD), 0)
        if target.size > promised:  # an old backup GPT or md superblock may stand at the very end
            tail = min(MIB, target.size - promised)
            os.pwrite(fd, bytes(tail), target.size - tail)
        with progress.ticking():
            imageset.check_image(folder, manifest, lambda _: None, sink)
        if at != promised:
            raise Failed(f"cannot restore: {at:,} bytes written, {promised:,} promised")
        os.pwrite(fd, bytes(head), 0)
        os.fsync(fd)
        run.say(progress.line())
    except OSError as error:
        raise Failed(
            f"cannot write '{target.path}': {error.strerror}", hint="look at dmesg: is the disk sound?"
        ) from error


def _verify(manifest: Manifest, target: BlockDevice, run: Run) -> None:
    """Read all that was written again from the disk, put the backup GPT in its place, and probe the result."""
    run_tool(["blockdev", "--flushbufs", target.path])
    size = manifest.checksums.raw_size
    progress = Progress("read again", size, run.say)
    digest = hashlib.sha256()
    with progress.ticking():
        for data in streams.read_ranges(Path(target.path), [Range(start=0, count=size)], size):
            digest.update(data)
            progress.add(len(data))
    if digest.hexdigest() != manifest.checksums.raw_sha256:
        raise Failed(
            f"cannot trust disk '{target.path}': it does not read back what was written to it",
            hint="the disk, its cable or the memory is faulty: test them before using this machine",
        )
    [packed] = manifest.packed.disks
    if packed.table and packed.table.label == "gpt" and target.size > packed.size:
        partitions.move_backup_gpt(target.path)
    restored = replace(packed, path=target.path, size=target.size)
    with verified(target.path, replace(manifest.packed, disks=(restored,)), run.say):
        pass
    run_tool(["blockdev", "--flushbufs", target.path])


@contextmanager
def _unusable_if_cut_off(path: str) -> Iterator[None]:
    """Whatever ends a restore early leaves a disk without a partition table, and an error that says so."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # a disk that takes no write is the error that is reported already
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(fd, bytes(HEAD), 0)
                os.fsync(fd)
            finally:
                os.close(fd)
        if not isinstance(error, LvpackError):
            raise
        raise Failed(
            f"{error.message}; target disk '{path}' is unusable: its partition table was removed",
            hint=error.hint or "restore again, from an image set that lvpack.action=verify accepts",
        ) from error
