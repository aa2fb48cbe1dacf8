"""Is a disk empty? Asked before a restore writes over it."""

import os

from lvpack_agent.disks import BlockDevice
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB

SAMPLES = 64


def what_holds(disk: BlockDevice) -> str:
    """Return what a disk holds, in words; "" if it is empty.

    Empty means: no signature that wipefs(8) knows, no partition, and zeros at its start, its end and at places spread
    evenly between (1 MiB each, so that raw data without a signature is seen as well).
    """
    if disk.parts:
        return f"{len(disk.parts)} partition{'s' if len(disk.parts) > 1 else ''}"
    signatures = run(["wipefs", "--noheadings", "--output", "TYPE", disk.path]).stdout.split()
    if signatures:
        return "the signature of " + ", ".join(dict.fromkeys(signatures))
    fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        last = max(0, disk.size - MIB)
        for offset in sorted({last * i // SAMPLES // 512 * 512 for i in range(SAMPLES + 1)} | {last}):
            if any(os.pread(fd, MIB, offset)):
                return f"data at byte {offset:,}"
    finally:
        os.close(fd)
    return ""
