"""lvpack.action=restore: an image set written to disks that are empty or may be overwritten, then read again."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lvpack_agent.devices import blockdev, lsblk, sfdisk
from lvpack_agent.devices.emptiness import what_holds
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.layout.disks import Disk
from lvpack_agent.machine import dmi
from lvpack_agent.network.up import Network
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.restore import esp
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
            share = undo.enter_context(mounted(url, folder / "share", network, session.say, read_only=True))
            session.name = name
            manifest = check.read_manifest(share / name)
            check.check_files(share / name, manifest)
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


def choose_targets(
    all_disks: tuple[BlockDevice, ...],
    manifest: Manifest,
    *,
    named: tuple[str, ...],
    overwrite: bool,
    say: Callable[[str], object],
) -> tuple[BlockDevice, ...]:
    """Return the disks to write, one for each disk of the set, in its order.

    named is the value of lvpack.disk; if it names none, say which disk is chosen and why. overwrite: disks need not be
    empty. Raises Refused if it is not clear which disks are meant, or one of them is too small or not empty.
    """
    wanted = manifest.packed.disks
    candidates = lsblk.select(all_disks, named)
    known = "; ".join(d.describe() for d in candidates) or "there is none"
    if len(wanted) > 1 and (named == lsblk.AUTO or len(candidates) != len(wanted)):
        needs = "; ".join(f"{d.model or d.path}: {d.size:,} bytes" for d in wanted)
        raise Refused(
            f"cannot choose the target disks: the set has {len(wanted)} ({needs})",
            hint=f"name as many different disks in that order, each with lvpack.disk=: {known}",
        )
    if named == lsblk.AUTO:
        candidates = _chosen(candidates, manifest, say)
    if len(candidates) != len(wanted):
        raise Refused(
            f"cannot choose the target disk: there are {len(candidates)}", hint=f"name one with lvpack.disk=: {known}"
        )
    for target, packed in zip(candidates, wanted, strict=True):
        _refuse_unfit(target, packed, overwrite)
    return candidates


def _chosen(
    found: tuple[BlockDevice, ...], manifest: Manifest, say: Callable[[str], object]
) -> tuple[BlockDevice, ...]:
    """Return the disk that lvpack.disk=auto means: the only one, or the one that the set came from; if none, all."""
    machine = dmi.machine().get("product_uuid")
    same_machine = machine is not None and machine == manifest.machine.get("product_uuid")
    origins = {d: why for d in found if (why := _origin(d, manifest.plan.source.disks, same_machine))}
    # The disks of a collapsed set: one that is still there may hold the other half of what the set has.
    collapsed = len(manifest.plan.source.disks) > len(manifest.packed.disks)
    if len(found) > 1 and (len(origins) != 1 or collapsed):
        return found
    for disk in origins or found:
        only = "the only disk that there is" if len(found) == 1 else ""
        origin = f"the one that the set came from, by its {origins[disk]}" if origins else ""
        say(f"lvpack.disk=auto is {disk.path}: {' and '.join(filter(None, [only, origin]))}")
    return tuple(origins) or found


def _origin(disk: BlockDevice, sources: Sequence[Disk], same_machine: bool) -> str:
    """Return what shows that the set came from this disk, "" if nothing does.

    No two disks have one WWN; but a serial number may be "drive-scsi0" in every virtual machine.
    """
    for source in sources:
        if disk.wwn and source.wwn:
            if disk.wwn == source.wwn:
                return f"WWN {disk.wwn}"
        elif same_machine and disk.serial and (disk.serial, disk.model) == (source.serial, source.model):
            return f"serial {disk.serial}"
    return ""


def _refuse_unfit(target: BlockDevice, packed: Disk, overwrite: bool) -> None:
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
    if held and not overwrite:
        raise Refused(
            f"cannot restore to '{target.path}': it is not empty, it holds {held}",
            hint="lvpack.overwrite=yes writes over it; everything on it is lost then",
        )


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
        raise Failed(
            f"cannot write '{disk.path}': {error.strerror}", hint="look at dmesg: is the disk sound?"
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


@contextmanager
def unusable_if_cut_off(fds: Sequence[int], paths: Sequence[str]) -> Iterator[None]:
    """If the restore ends early, remove the disks' partition tables, and raise an error that says so.

    This writes through descriptors that were open before: a path may belong to another disk by then.
    """
    zeros = bytes(HEAD)  # made now: when memory has run out, none is left for them
    try:
        yield
    except BaseException as error:
        for fd in fds:
            with suppress(OSError):  # a disk that takes no write is the error that is reported already
                os.pwrite(fd, zeros, 0)
                os.fsync(fd)
        if not isinstance(error, LvpackError):
            raise
        names = "' and '".join(paths)
        which = f"target disks '{names}' are" if len(paths) > 1 else f"target disk '{names}' is"
        raise Failed(
            f"{error.message}; {which} unusable: {'their' if len(paths) > 1 else 'its'} partition table was removed",
            hint=error.hint or "restore again, from an image set that lvpack.action=verify accepts",
        ) from error
