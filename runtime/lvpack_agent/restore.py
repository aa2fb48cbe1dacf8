"""lvpack.action=restore: an image set written to a disk that is empty or may be overwritten, then read again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lvpack_agent import disks, esp, imageset, partitions, shares
from lvpack_agent.disks import BlockDevice
from lvpack_agent.emptiness import what_holds
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.imageset import Manifest
from lvpack_agent.options import Settings
from lvpack_agent.processes import run as run_tool
from lvpack_agent.progress import Progress
from lvpack_agent.report import Run
from lvpack_agent.sizes import MIB, human
from lvpack_agent.target import HEAD, Target
from lvpack_agent.undo import Undo
from lvpack_agent.verification import verified


def restore(settings: Settings, run: Run, scratch: Path) -> str:
    """Write an image set to the target disk and verify it; return the closing message."""
    with Undo() as undo:
        with run.phase("share"):
            url, name = shares.parse(settings.source).parent()
            share = undo.enter_context(shares.mounted(url, scratch / "share", run.say, read_only=True))
            run.name = name
            manifest = imageset.read_manifest(share / name)
        with run.phase("probe"):
            disk = choose_target(disks.read(), manifest, settings)
            run.disk = disk.path
            run.say(f"target: {disk.describe()}")
            others = tuple(d for d in disks.read() if d.path != disk.path)
            disks.set_read_only(others, undo)
        run.sizes |= {
            "target_disk": disk.size,
            "packed_disk": manifest.checksums.raw_size,
            "image": manifest.checksums.stored_size,
        }
        with _exclusively(disk.path) as fd, _unusable_if_cut_off(disk.path), run.phase("write"):
            target = _write(fd, share / name, manifest, disk, run)
        with _unusable_if_cut_off(disk.path), run.phase("verify"):
            if settings.readback:
                _read_again(target, disk, run)
            _verify(manifest, disk, run)
        with run.phase("boot"):
            esp.make_bootable(disk.path, manifest, settings.efi, run, scratch / "esp")
    return f"restored image set {name} ({human(manifest.checksums.raw_size)}) to disk {disk.path}"


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


def _write(fd: int, folder: Path, manifest: Manifest, disk: BlockDevice, run: Run) -> Target:
    promised = manifest.checksums.raw_size
    progress = Progress("restore", promised, run.say)
    queue = Path("/sys/block") / Path(disk.path).name / "queue"
    try:
        target = Target(fd, queue, manifest.block_map, promised, progress.add)
        os.pwrite(fd, bytes(HEAD), 0)
        if disk.size > promised:  # an old backup GPT or md superblock may stand at the very end
            tail = min(MIB, disk.size - promised)
            os.pwrite(fd, bytes(tail), disk.size - tail)
        with progress.ticking():
            imageset.check_image(folder, manifest, lambda _: None, target.put)
        if progress.done != promised:
            raise Failed(f"cannot restore: {progress.done:,} bytes written, {promised:,} promised")
        target.finish()
        run.say(progress.line())
    except OSError as error:
        raise Failed(
            f"cannot write '{disk.path}': {error.strerror}", hint="look at dmesg: is the disk sound?"
        ) from error
    return target


def _read_again(target: Target, disk: BlockDevice, run: Run) -> None:
    run_tool(["blockdev", "--flushbufs", disk.path])
    progress = Progress("read again", target.size, run.say)
    with progress.ticking():
        target.read_again(disk.path, progress.add)


def _verify(manifest: Manifest, disk: BlockDevice, run: Run) -> None:
    """Put the backup GPT in its place, and probe the disk: it must be what the manifest says, and pass e2fsck."""
    [packed] = manifest.packed.disks
    if packed.table and packed.table.label == "gpt" and disk.size > packed.size:
        partitions.move_backup_gpt(disk.path)
    restored = replace(packed, path=disk.path, size=disk.size)
    with verified(disk.path, replace(manifest.packed, disks=(restored,)), run.say):
        pass
    run_tool(["blockdev", "--flushbufs", disk.path])


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
