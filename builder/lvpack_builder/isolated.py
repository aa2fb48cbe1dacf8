"""A program that leaves nothing behind: it and all that it starts have mounts and processes of their own.

Whatever ends it, its mounts and its last process are gone when run() returns, so that what it wrote to can be removed
without a bind mount of the host's /dev in it.
"""

import os
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lvpack_agent.processes import STDOUT, Completed, Process, check, spawn

# A kill of this process, even by SIGKILL, kills unshare, and that the first process of its PID namespace, and that
# all others there (pid_namespaces(7)). The mount namespace goes with the last of them.
_NAMESPACES = [
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child"),
]
# The end of the first process cuts off helpers of the program that still write its last words (DIB's outfilter). cat
# ends after them; a process that somebody left in the background may hold it, and is not waited for longer.
_LAST_WORDS_SECONDS = 5
_TO_THE_LAST_WORD = (
    "bash",
    "-c",
    'exec 3> >(exec cat); cat=$!; "$@" >&3 2>&1; status=$?; exec 3>&-; '
    f"timeout {_LAST_WORDS_SECONDS} tail --pid=$cat --sleep-interval=0.1 --follow /dev/null; exit $status",
    "bash",
)


def run(argv: Sequence[str | os.PathLike[str]], *, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program to its end, its output to a new log file. Needs root.

    Raises Failed if a program is missing, ToolFailed if it fails. An exception meanwhile, such as KeyboardInterrupt,
    kills all its processes; a session of its own keeps the terminal's Ctrl-C from them before that.
    """
    with log.open("wb") as file:
        outer = spawn(
            [*_NAMESPACES, *_TO_THE_LAST_WORD, *argv], stdout=file.fileno(), stderr=STDOUT, new_session=True, env=env
        )
    first = None
    try:
        first = _first_process(outer)
        outer.wait()
    except BaseException:
        if first is None:  # the interrupt came before it was found: without it nobody can wait for the others' end
            first = _first_process(outer)
        outer.kill()
        raise
    finally:
        if first is not None:
            _wait(first)
        outer.wait()
    completed = Completed(status=outer.returncode, stdout=log.read_text(errors="replace"), stderr="")
    check([os.fspath(a) for a in argv], completed)


def _first_process(outer: "Process[bytes]") -> int | None:
    """Return a file descriptor of the PID namespace's first process; None if there is none before unshare's end."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None:
        for pid in children.read_text().split():
            with suppress(ProcessLookupError):
                return os.pidfd_open(int(pid))
        time.sleep(0.01)
    return None


def _wait(pidfd: int) -> None:
    """Wait until the process has ended: the first of a PID namespace ends after all others in it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)
