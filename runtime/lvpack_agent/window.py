"""Threads that work ahead, but not too far."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Window:
    """So many threads at work, and so many tasks at most that wait; what a task raises is raised to who goes on.

    As a context manager: all tasks are done at its end, or, after an exception, no further one is begun.
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
