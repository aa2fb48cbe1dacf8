"""blockdev(8): the size of a block device, and whether it takes writes.

Tested in guests, for files are no block devices: qemu-tests/tests/test_guard.py.
"""

import os
from collections.abc import Iterator

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo


def size_of(device: str) -> int:
    """Return the bytes of a block device."""
    return int(run(["blockdev", "--getsize64", device]).stdout)


def set_read_only(disks: tuple[BlockDevice, ...], undo: Undo) -> None:
    """Let the kernel refuse every write to these disks and their partitions (BLKROSET), until undo runs."""
    for device in _with_parts(disks):
        if not device.read_only:
            run(["blockdev", "--setro", device.path])
            undo.callback(run, ["blockdev", "--setrw", device.path])


def refuse_writes(device: str, undo: Undo) -> None:
    """Let the kernel refuse every write to a device, until undo runs; one that takes none already stays as it is."""
    if run(["blockdev", "--getro", device]).stdout.strip() == "0":
        run(["blockdev", "--setro", device])
        undo.callback(run, ["blockdev", "--setrw", device])


def _with_parts(disks: tuple[BlockDevice, ...]) -> Iterator[BlockDevice]:
    for disk in disks:
        yield disk
        yield from disk.parts


def flush(device: str) -> None:
    """Wait until all that was written to a device, in whatever way, is on its medium (fsync(2) of a block device).

    Raises Failed if the device, or the share behind it, does not take it.
    """
    os.sync()
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise Failed(
            f"cannot write '{device}': {error.strerror}", hint="check the disk, the share and the network (dmesg)"
        ) from error
    finally:
        os.close(fd)
