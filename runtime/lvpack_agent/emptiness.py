"""Is a disk empty? Asked before a restore writes over it."""

import os

from lvpack_agent.disks import BlockDevice
from lvpack_agent.processes import run
from lvpack_agent.sizes import KIB
from lvpack_agent.streams import is_zero

SAMPLES, SAMPLE = 1024, 64 * KIB


def what_holds(disk: BlockDevice) -> str:
    """Return what a disk holds, in words; "" if it is empty.

    Empty means: no signature that wipefs(8) knows, no partition, and zeros at its start, its end and at places spread
    evenly between, so that raw data without a signature is seen as well, though not a little of it on a large disk.
    """
    if disk.parts:
        return f"{len(disk.parts)} partition{'s' if len(disk.parts) > 1 else ''}"
    signatures = run(["wipefs", "--noheadings", "--output", "TYPE", disk.path]).stdout.split()
    if signatures:
        return "the signature of " + ", ".join(dict.fromkeys(signatures))
    fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        last = max(0, disk.size - SAMPLE)
        for offset in sorted({last * i // SAMPLES // 512 * 512 for i in range(SAMPLES + 1)} | {last}):
            if not is_zero(os.pread(fd, SAMPLE, offset)):
                return f"data at byte {offset:,}"
    finally:
        os.close(fd)
    return ""
