"""Folders of a tree, worked on by several processes at a time, each of which asks for more when it has done some.

Threads would wait for one another: most of the work on small files is done by Python itself.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from lvpack_agent.errors import Failed
from lvpack_agent.processes import PIPE, TICK_SECONDS, Process, spawn
from lvpack_agent.trees.compare import Comparer
from lvpack_agent.trees.copy import Copier, scratch_of
from lvpack_agent.trees.differences import Differences
from lvpack_agent.undo import Undo

# More processes do not make a disk quicker. The most folders that a process gets at a time.
MOST_WORKERS, MOST_FOLDERS = 4, 32
# What a worker has in memory: Python, buffers, the entries of a folder.
WORKER_MEMORY = 32 << 20
_MODULE = "lvpack_agent.trees.work"

T = TypeVar("T")


def workers() -> int:
    """Return how many processes work on a tree."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def memory() -> int:
    """Return the bytes of memory that the processes take together."""
    return workers() * WORKER_MEMORY


def copy_tree(old: str, new: str, tick: Callable[[], None]) -> None:
    """Copy all that is in one XFS to a new one. Raises Failed if anything cannot be read or written."""
    scratch = Path(new, scratch_of(old))
    try:
        scratch.mkdir(0o700)
        shared: list[str] = []
        fixed = []
        for done in _walked("copy", old, new, "", tick):
            shared += done.shared
            fixed += done.fixed
        with os.scandir(scratch) as entries:
            for entry in _ticking(entries, tick):
                Path(entry).unlink()
        scratch.rmdir()
    except OSError as error:
        raise Failed(f"cannot copy the files of an XFS: {error.strerror} ('{scratch.name}' in the copy)") from error
    with closing(Copier(old, new)) as copier:
        for path in _ticking(shared, tick):
            copier.share(path)
        for path, wanted in fixed:
            copier.finish(path, wanted)
        copier.finish("")


def compare_trees(old: str, new: str, contents: bool, tick: Callable[[], None]) -> list[str]:
    """Return in what a copy differs, for people; without contents the data of files are not read.

    Raises Failed if a difference is fatal (trees/differences.py).
    """
    found = Differences()
    shared: list[str] = []
    for done in _walked("compare", old, new, "contents" if contents else "", tick):
        found.add(done)
        shared += done.shared
    with closing(Comparer(old, new, contents)) as comparer:
        for path in _ticking(shared, tick):
            found.add(comparer.share(path))
    return found.settle()


def _ticking(items: Iterable[T], tick: Callable[[], None]) -> Iterator[T]:
    """Yield items, with a tick between them each second."""
    due = time.monotonic() + TICK_SECONDS
    for item in items:
        yield item
        if time.monotonic() > due:
            tick()
            due = time.monotonic() + TICK_SECONDS


def _walked(job: str, old: str, new: str, option: str, tick: Callable[[], None]) -> Iterator[Any]:
    """Yield what a job finds in each folder of a tree, from the root on."""
    command = [sys.executable, "-m", _MODULE, job, old, new, option]
    with Undo() as undo:
        # If anything fails, the processes end before the threads that wait for them.
        pool = undo.enter_context(ThreadPoolExecutor(workers(), "tree"))
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers()):
            worker = _Worker(command)
            undo.callback(worker.end)
            idle.put(worker)

        def work(paths: list[str]) -> Any:
            worker = idle.get()
            found = worker.ask(paths)
            idle.put(worker)
            return found

        waiting, running = [""], set[Future[Any]]()
        due = time.monotonic() + TICK_SECONDS
        while waiting or running:
            while waiting and len(running) < workers():
                count = max(1, min(MOST_FOLDERS, len(waiting) // workers()))
                running.add(pool.submit(work, waiting[-count:]))
                del waiting[-count:]
            done, running = wait(running, TICK_SECONDS, FIRST_COMPLETED)
            if time.monotonic() > due:
                tick()
                due = time.monotonic() + TICK_SECONDS
            for future in done:
                for result in future.result():
                    waiting += result.folders
                    yield result


class _Worker:
    """A process that does a job on folders."""

    def __init__(self, command: list[str]) -> None:
        self._process: Process[bytes] = spawn(command, stdin=PIPE, stdout=PIPE)

    def ask(self, paths: list[str]) -> Any:
        """Return what the job finds in folders. Raises Failed."""
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump(paths, self._process.stdin)
            self._process.stdin.flush()
            found = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            status = self._process.wait()
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise Failed(
                f"cannot work on files: a process of lvpack's {how}",
                hint="with too little memory the kernel ends processes; its log on the console says so",
            ) from None
        if isinstance(found, Failed):
            raise found
        return found

    def end(self) -> None:
        """End the process, whatever it is doing."""
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()


def _serve(job: str, old: str, new: str, option: str) -> None:
    """Do the job on the folders that are named on stdin, until that is closed."""
    os.umask(0)
    task = Copier(old, new).folder if job == "copy" else Comparer(old, new, bool(option)).folder
    while True:
        try:
            paths = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: object
        try:
            answer = [task(path) for path in paths]
        except Failed as failed:
            answer = failed
        except Exception as error:
            traceback.print_exc()
            answer = Failed(f"cannot work on files: {type(error).__name__}: {error}", hint="this is a defect of lvpack")
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
