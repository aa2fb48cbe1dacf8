"""Programs that hang: which do nothing any more, neither compute nor have reads or writes done.

A program that is slow is none of these: its processor time, or the bytes that it reads and writes, or requests to a
disk that are in flight tell so; of one that waits until all is written, such as sync, the pages that are written
meanwhile, by the kernel. While the share does not answer the clock stands still, too (shares.patience).
"""

import time
from contextlib import suppress
from pathlib import Path

from lvpack_agent import places

# So long a program may do nothing at all. Filesystem tools and LVM wait for nobody but disks: kernels give a request
# to one up after some minutes at most (30 s a try, and five tries, with SCSI), and requests in flight do not count.
HUNG_SECONDS = 600.0
# Where a program hangs that cannot even be killed, what cleans up after it may hang as well: it gets less time each.
HUNG_AGAIN_SECONDS = 60.0
LOOK_SECONDS = 5.0
# Pages that are written back count from so many KiB on: the claim to a journal is rewritten each few seconds.
WRITTEN_KIB = 64

PROC = Path("/proc")


class Idleness:
    """How long a program has done nothing, by looks at it from time to time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked = time.monotonic()
        self._found: object = None
        self._seconds = 0.0
        self._unwritten = 0, 0

    def hangs(self) -> bool:
        """Look, if it is time, and return whether the program hangs."""
        now = time.monotonic()
        passed, limit = now - self._looked, limit_seconds()
        if passed < LOOK_SECONDS:
            return False
        self._looked, before = now, self._found
        self._found = activity(self._pid)
        unwritten_before, self._unwritten = self._unwritten, unwritten()
        if self._found != before or is_written(unwritten_before, self._unwritten):
            self._seconds = 0.0
        elif not excused():
            # A look that comes late says nothing of the time between: the machine may have stood still.
            self._seconds += min(passed, 2 * LOOK_SECONDS)
        return self._seconds >= limit


def limit_seconds() -> float:
    """Return for how many seconds a program may do nothing."""
    return min(HUNG_SECONDS, HUNG_AGAIN_SECONDS) if places.HUNG.exists() else HUNG_SECONDS


def excused() -> bool:
    """Return whether there is what a program may wait for: the share is out, or requests to disks are in flight."""
    return places.AWAY.exists() or in_flight((PROC / "diskstats").read_text())


def unwritten() -> tuple[int, int]:
    """Return how many KiB of pages wait to be written, and how many are being written, also to the share.

    proc_meminfo(5): Dirty and Writeback; since Linux 5.8 the latter has what an NFS server has not committed.
    """
    found = dict(line.split(":", 1) for line in (PROC / "meminfo").read_text().splitlines())
    return int(found["Dirty"].split()[0]), int(found["Writeback"].split()[0])


def is_written(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Return whether pages were written between two answers of unwritten(): fewer are left, or others are under way."""
    return sum(before) - sum(now) >= WRITTEN_KIB or abs(before[1] - now[1]) >= WRITTEN_KIB


def in_flight(diskstats: str) -> bool:
    """Return whether any disk has requests in flight (kernel: admin-guide/iostats.rst, field 9)."""
    return any(len(fields) > 11 and fields[11] != "0" for line in diskstats.splitlines() if (fields := line.split()))


def activity(pid: int) -> object:
    """Return something that differs when a program, or one that it has started, has done anything meanwhile."""
    return tuple(_one(process) for process in family(pid))


def family(pid: int) -> list[int]:
    """Return a process and all that come from it, as far as they still run (proc_pid_task(5): children)."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in (PROC / str(parent) / "task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _one(pid: int) -> object:
    """Return processor time and I/O of a process (proc_pid_stat(5): utime and stime; proc_pid_io(5))."""
    times, done = [], ""
    with suppress(OSError):
        times = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
    with suppress(OSError):  # of a program that runs as another user only root may read this
        done = (PROC / str(pid) / "io").read_text()
    return pid, times, done
