"""The images of a set written to disks that are open, but for their heads, which make disks of them; and read again."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lvpack_agent.devices import direct, ioerrors
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.plan.grow_disks import Place
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.restore import mark
from lvpack_agent.restore.target import HEAD, Target
from lvpack_agent.session import Session
from lvpack_agent.shares.stored import Source, local
from lvpack_agent.sizes import MIB


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
    fds: Sequence[int],
    folder: Path,
    manifest: Manifest,
    targets: Sequence[BlockDevice],
    places: Sequence[Sequence[Place]],
    session: Session,
    source: Source = local,
) -> list[Target]:
    """Write all disks but for their heads (target.HEAD); places has, for each, where the bytes of its image go.

    In the place of a head there is a mark (restore.mark) meanwhile.
    """
    written = []
    for fd, image, disk, to in zip(fds, manifest.images, targets, places, strict=True):
        with naming(disk):
            os.pwrite(fd, mark.of(manifest).ljust(HEAD, b"\0"), 0)
            # On the medium before anything else is: of what the disk had, nothing is left that makes a disk of it.
            os.fsync(fd)
            written.append(_write_disk(fd, folder, source, image, disk, to, session))
    return written


def flush(written: Sequence[Target], targets: Sequence[BlockDevice]) -> None:
    """Wait until what was written is on the disks."""
    for target, disk in reversed(tuple(zip(written, targets, strict=True))):
        with naming(disk):
            target.flush()


def write_heads(written: Sequence[Target], targets: Sequence[BlockDevice]) -> None:
    """Write the heads of disks whose rest has arrived, the first disk's last of all."""
    flush(written, targets)
    for target, disk in reversed(tuple(zip(written, targets, strict=True))):
        with naming(disk):
            target.finish()


@contextmanager
def naming(disk: BlockDevice) -> Iterator[None]:
    """Raise Failed that names a disk, and the sector, if it does not take a write."""
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


def _write_disk(
    fd: int, folder: Path, source: Source, image: Image, disk: BlockDevice, places: Sequence[Place], session: Session
) -> Target:
    promised = image.checksums.raw_size
    progress = Progress("restore", promised, session.say)
    queue = Path("/sys/block") / Path(disk.path).name / "queue"
    target = Target(fd, queue, image.block_map, promised, progress.add, places)
    # An old backup GPT or md superblock may stand at the very end.
    end = max(place.to + place.count for place in places)
    if disk.size > end:
        tail = min(MIB, disk.size - end)
        os.pwrite(fd, bytes(tail), disk.size - tail)
    with progress.ticking():
        check.check_image(folder, image, lambda _: None, target.put, source)
    if progress.done != promised:
        raise Failed(f"cannot restore: {progress.done:,} bytes written, {promised:,} promised")
    session.say(progress.line())
    return target


def read_again(written: Sequence[Target], paths: Sequence[str], session: Session) -> None:
    """Read what was written from the disks, without heads that are not written yet. Raises Failed if it differs."""
    for target, path in zip(written, paths, strict=True):
        run(["blockdev", "--flushbufs", path])
        progress = Progress("read again", target.size, session.say)
        with progress.ticking():
            target.read_again(path, progress.add)


def _has_no_table(fd: int) -> bool:
    """Return whether an open disk, by what is on it, has no partition table."""
    try:
        with DirectReader(f"/proc/self/fd/{fd}") as reader:
            return mark.stands_alone(reader.read(0, direct.MOST))
    except OSError:
        return False


@contextmanager
def unusable_if_cut_off(fds: Sequence[int], paths: Sequence[str], manifest: Manifest) -> Iterator[None]:
    """If the restore ends early, put marks over the disks' partition tables, and raise an error that says so.

    This writes through descriptors that were open before: a path may belong to another disk by then.
    """
    marked = mark.of(manifest).ljust(HEAD, b"\0")  # made now: when memory has run out, none is left for it
    try:
        yield
    except BaseException as error:
        left = False
        for fd in fds:
            try:
                os.pwrite(fd, marked, 0)
                os.fsync(fd)
            except OSError:
                # That is the error that is reported already. It may be of another place: what is on the disk tells.
                left = left or not _has_no_table(fd)
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
