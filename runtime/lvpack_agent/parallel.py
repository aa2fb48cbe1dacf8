"""Several volumes at a time, where the machine has processors and memory for it."""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from lvpack_agent.resources import available_memory
from lvpack_agent.sizes import MIB

# Memory that e2fsck and resize2fs take for a filesystem of some TiB. More tasks at a time would only wait for the disk.
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


class Window:
    """Threads that work on tasks, of which only some may wait; an error of a task is raised from a later submit().

    A context manager: at its end all tasks are done and the last errors raised; after an exception no further task is
    begun.
    """

    def __init__(self, threads: int, name: str, waiting: int = 2) -> None:
        self._limit = threads + waiting
        self._pool = ThreadPoolExecutor(threads, name)
        self._waiting: deque[Future[Any]] = deque()

    def submit(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Begin a task when there is room for it; wait for the oldest first if there is none."""
        if len(self._waiting) == self._limit:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(task, *arguments))

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            while error is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
