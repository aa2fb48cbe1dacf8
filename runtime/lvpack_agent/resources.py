"""How much of this machine a run may take: processors and memory."""

import os
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.sizes import MIB


def available_memory() -> int:
    """Return the bytes of memory that programs may still use (kernel: filesystems/proc.rst, MemAvailable)."""
    return _memory("MemAvailable")


def total_memory() -> int:
    """Return the bytes of memory of this machine, without what the kernel took at its start (MemTotal)."""
    return _memory("MemTotal")


def _memory(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"cannot read how much memory there is: /proc/meminfo has no {key}")


# Bytes of memory for each thread that compresses: its piece, its frame, what waits to be written, and zstd's tables up
# to level 9.
WORKER_MEMORY = 24 * MIB
MAX_WORKERS = 8


def worker_count() -> int:
    """Return how many pieces are compressed at a time: one for each processor, MAX_WORKERS at most."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)
