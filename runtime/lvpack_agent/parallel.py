"""Several volumes at a time, where the machine has processors and memory for it."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lvpack_agent.sizes import MIB
from lvpack_agent.snapshots.stores import available_memory

# What e2fsck and resize2fs take for a filesystem of some TiB; more at a time than that a disk would not serve.
TASK_MEMORY, MAX_TASKS = 256 * MIB, 4

T = TypeVar("T")
R = TypeVar("R")


def each(task: Callable[[T], R], items: Iterable[T], reserved: int = 0) -> list[R]:
    """Return what task returns for each item, in order; of several errors the first one in that order is raised.

    reserved bytes of memory are left for others. When an error is raised, no task runs any more.
    """
    workers = min(len(os.sched_getaffinity(0)), MAX_TASKS, (available_memory() - reserved) // TASK_MEMORY)
    with ThreadPoolExecutor(max(1, workers), "each") as pool:
        return list(pool.map(task, items))
