"""Is a disk empty? Asked before a restore writes over it."""

import errno
import os
from pathlib import Path

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.pipes import is_zero
from lvpack_agent.processes import run
from lvpack_agent.sizes import KIB

SAMPLES, SAMPLE = 1024, 64 * KIB


def what_holds(disk: BlockDevice) -> str:
    """Return what a disk holds, in words; "" if it is empty.

    Empty means: no signature that wipefs(8) knows, no partition, and zeros at its start, its end and at places spread
    evenly between, so that raw data without a signature is seen as well, though not a little of it on a large disk.
    """
    if known := what_is_known(disk):
        return known
    fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        last = max(0, disk.size - SAMPLE)
        for offset in sorted({last * i // SAMPLES // 512 * 512 for i in range(SAMPLES + 1)} | {last}):
            if not is_zero(os.pread(fd, SAMPLE, offset)):
                return f"data at byte {offset:,}"
    finally:
        os.close(fd)
    return ""


def what_is_known(disk: BlockDevice) -> str:
    """Return what a disk holds by its partitions and by signatures that wipefs(8) knows, in words; "" if neither."""
    if disk.parts:
        return f"{len(disk.parts)} partition{'s' if len(disk.parts) > 1 else ''}"
    found = signatures(disk)
    return "the signature of " + ", ".join(found) if found else ""


def signatures(disk: BlockDevice) -> list[str]:
    """Return the names of the signatures on a disk that wipefs(8) knows, each once."""
    return list(dict.fromkeys(run(["wipefs", "--noheadings", "--output", "TYPE", disk.path]).stdout.split()))


def what_uses(disk: BlockDevice) -> str:
    """Return what has a disk, or one of its partitions, open for itself, in words; "" if nothing has.

    An array, a mapping, a mount or swap claims a device (open(2), O_EXCL without O_CREAT).
    """
    try:
        os.close(os.open(disk.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        names = [Path(part.path).name for part in (disk, *disk.parts)]
        holders = [p.name for name in names for p in Path(f"/sys/class/block/{name}/holders").glob("*")]
        return ", ".join(holders) or "a mount or swap"
    return ""
