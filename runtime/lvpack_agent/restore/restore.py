"""lvpack.action=restore: an image set written to disks that are empty or may be overwritten, then read again."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lvpack_agent.devices import blockdev, direct, ioerrors, lsblk, sfdisk
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check, losses
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.network.up import Network
from lvpack_agent.pipes import is_zero
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.restore import esp
from lvpack_agent.restore.choose import choose_targets
from lvpack_agent.restore.target import HEAD, Target
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.shares.mounted import mounted
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import MIB, human
from lvpack_agent.undo import Undo


def restore(settings: Settings, network: Network, session: Session, folder: Path) -> str:
    """Write an image set to its target disks and verify them; return the closing message.

    folder is for mounts.
    """
    with Undo() as undo:
        with session.phase("share"):
            url, name = parse_url(settings.source).parent()
            at, patience = folder / "share", settings.patience
            share = undo.enter_context(mounted(url, at, network, session, read_only=True, patience=patience))
            session.name = name
            manifest = check.read_manifest(
                share / name,
                lambda cause: session.warn(f"image set '{name}' is damaged: {cause}; a restore does not need that"),
            )
            esp.refuse_astray(manifest, name, settings.efi)
            check.check_files(share / name, manifest)
            if missing := losses.summary(manifest.unreadable):
                session.warn(missing)
        with session.phase("probe"):
            targets = choose_targets(
                lsblk.read(), manifest, named=settings.disk, overwrite=settings.overwrite, say=session.say
            )
            session.disk = targets[0].path
            for disk in targets:
                session.say(f"target: {disk.describe()}")
            paths = [disk.path for disk in targets]
            blockdev.set_read_only(tuple(d for d in lsblk.read() if d.path not in paths), undo)
        session.measured(
            target_disk=sum(disk.size for disk in targets),
            packed_disk=manifest.packed_size,
            image=manifest.stored_size,
        )
        # To the end: when a descriptor that may write is closed, udev reads the partition table, and partitions are
        # gone for a moment.
        held = undo.enter_context(opened(paths, paths))
        again = [f"/proc/self/fd/{fd}" for fd in held]
        # O_EXCL: fails while the disk is in use. The kernel zeroes and discards only for who has claimed it so
        # (block/bdev.c: truncate_bdev_range()); verifying has to be able to claim it as well.
        with opened(again, paths, os.O_EXCL) as fds, unusable_if_cut_off(held, paths), session.phase("write"):
            written = write_disks(fds, share / name, manifest, targets, session)
        with unusable_if_cut_off(held, paths), session.phase("verify"):
            if settings.readback:
                _read_again(written, paths, session)
            _verify(manifest, targets, session)
        with session.phase("boot"):
            esp.make_bootable(paths[manifest.boot_disk], manifest, settings.efi, session, folder / "esp")
    where = f"disk{'s' if len(paths) > 1 else ''} {' and '.join(paths)}"
    return f"restored image set {name} ({human(manifest.packed_size)}) to {where}"


@contextmanager
def opened(paths: Sequence[str], names: Sequence[str], flags: int = 0) -> Iterator[list[int]]:
    """Yield descriptors of disks that may be written; names are for people. Raises Refused if one cannot be opened."""
    with ExitStack() as undo:
        fds = []
        for path, name in zip(paths, names, strict=True):
            try:
                fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | flags))
            except OSError as error:
                raise Refused(
                    f"cannot restore to '{name}': {error.strerror}", hint="something uses this disk"
                ) from error
            undo.callback(os.close, fds[-1])
        yield fds


def write_disks(
    fds: Sequence[int], folder: Path, manifest: Manifest, targets: Sequence[BlockDevice], session: Session
) -> list[Target]:
    """Write all disks; their heads (target.HEAD) come when all the rest has arrived, the first disk's last of all."""
    written = []
    for fd, image, disk in zip(fds, manifest.images, targets, strict=True):
        with _naming(disk):
            written.append(_write_disk(fd, folder, image, disk, session))
    for target, disk in reversed(tuple(zip(written, targets, strict=True))):
        with _naming(disk):
            target.finish()
    return written


@contextmanager
def _naming(disk: BlockDevice) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Writes are gathered; only the kernel knows which of them the disk did not take.
        said = ioerrors.of_disks(ioerrors.read(), [disk.path], "WRITE")
        where = f" from sector {said[-1].sector} (byte {said[-1].sector * ioerrors.SECTOR:,}) on" if said else ""
        raise Failed(
            f"cannot write '{disk.path}'{where}: {error.strerror}",
            hint="the disk, its cable or what stands behind it is at fault (dmesg): restore to another one",
        ) from error


def _write_disk(fd: int, folder: Path, image: Image, disk: BlockDevice, session: Session) -> Target:
    promised = image.checksums.raw_size
    progress = Progress("restore", promised, session.say)
    queue = Path("/sys/block") / Path(disk.path).name / "queue"
    target = Target(fd, queue, image.block_map, promised, progress.add)
    os.pwrite(fd, bytes(HEAD), 0)
    if disk.size > promised:  # an old backup GPT or md superblock may stand at the very end
        tail = min(MIB, disk.size - promised)
        os.pwrite(fd, bytes(tail), disk.size - tail)
    with progress.ticking():
        check.check_image(folder, image, lambda _: None, target.put)
    if progress.done != promised:
        raise Failed(f"cannot restore: {progress.done:,} bytes written, {promised:,} promised")
    session.say(progress.line())
    return target


def _read_again(written: Sequence[Target], paths: Sequence[str], session: Session) -> None:
    for target, path in zip(written, paths, strict=True):
        run(["blockdev", "--flushbufs", path])
        progress = Progress("read again", target.size, session.say)
        with progress.ticking():
            target.read_again(path, progress.add)


def _verify(manifest: Manifest, targets: Sequence[BlockDevice], session: Session) -> None:
    """Put backup GPTs in their places, and probe the disks: they must be what the manifest says, and pass e2fsck."""
    restored = []
    for packed, disk in zip(manifest.packed.disks, targets, strict=True):
        if packed.table and packed.table.label == "gpt" and disk.size > packed.size:
            sfdisk.move_backup_gpt(disk.path)
        restored.append(replace(packed, path=disk.path, size=disk.size))
    with verified([disk.path for disk in restored], replace(manifest.packed, disks=tuple(restored)), session.say):
        pass
    for disk in targets:
        run(["blockdev", "--flushbufs", disk.path])


def _begins_with_zeros(fd: int) -> bool:
    """Return whether an open disk, by what is on it, has no partition table."""
    try:
        with DirectReader(f"/proc/self/fd/{fd}") as reader:
            return is_zero(reader.read(0, direct.MOST))
    except OSError:
        return False


@contextmanager
def unusable_if_cut_off(fds: Sequence[int], paths: Sequence[str]) -> Iterator[None]:
    """If the restore ends early, remove the disks' partition tables, and raise an error that says so.

    This writes through descriptors that were open before: a path may belong to another disk by then.
    """
    zeros = bytes(HEAD)  # made now: when memory has run out, none is left for them
    try:
        yield
    except BaseException as error:
        left = False
        for fd in fds:
            try:
                os.pwrite(fd, zeros, 0)
                os.fsync(fd)
            except OSError:
                # That is the error that is reported already. It may be of another place: what is on the disk tells.
                left = left or not _begins_with_zeros(fd)
        if not isinstance(error, LvpackError):
            raise
        names = "' and '".join(paths)
        which = f"target disks '{names}' are" if len(paths) > 1 else f"target disk '{names}' is"
        what = f"{'their' if len(paths) > 1 else 'its'} partition table"
        done = f"{what} could not be removed" if left else f"{what} was removed"
        remains = f"{which} unusable: {done}"
        raise Failed(
            f"{error.message}; {remains}",
            hint=error.hint or "restore again, from an image set that lvpack.action=verify accepts",
            remains=remains,
        ) from error
