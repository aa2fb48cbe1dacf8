"""How much of this machine a run may take: processors and memory."""

import os
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.sizes import MIB


def available_memory() -> int:
    """Return the bytes that programs may still take (kernel: Documentation/filesystems/proc.rst, MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Failed("cannot read the memory there is: /proc/meminfo has no MemAvailable")


# Bytes that each worker takes: its piece, its frame, what waits for its turn, and zstd's own tables up to level 9.
WORKER_MEMORY = 24 * MIB
MAX_WORKERS = 8


def worker_count() -> int:
    """Return how many pieces are compressed at a time: one a processor, within limits."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)
