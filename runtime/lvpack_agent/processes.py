"""The one door to processes: nothing else in the project may import subprocess.

stdin is closed unless input is given, the locale is fixed, and failure is an exception by default. A missing
program, a signal and an unexpected exit status each get their own message.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvpack_agent import hangs, places
from lvpack_agent.errors import Failed
from lvpack_agent.printable import quoted
from lvpack_agent.sizes import human_time

TICK_SECONDS = 1.0
# So long a program may take to end when it is told to.
END_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a finished program left: its exit status (0..255) and its output as text."""

    status: int
    stdout: str
    stderr: str


class ToolFailed(Failed):
    """A program ended with a status that its caller did not expect."""

    def __init__(self, message: str, *, completed: Completed) -> None:
        super().__init__(message)
        self.completed = completed


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for children: ours, with a fixed locale."""
    return {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        # LVM prints a line for every file descriptor that it did not open itself (lvm(8)).
        "LVM_SUPPRESS_FD_WARNINGS": "1",
        **(extra or {}),
    }


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    new_session: bool = False,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program without waiting for it. Raises Failed if it is missing."""
    try:
        return subprocess.Popen(
            [os.fspath(a) for a in argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
            env=environment(env),
        )
    except FileNotFoundError:
        raise Failed(
            f"cannot run '{argv[0]}': no such program", hint="install it, or run inside the live image"
        ) from None


PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL
Process = subprocess.Popen


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    input: str | None = None,
    ok: Container[int] = (0,),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    capture: bool = True,
    tick: Callable[[], None] | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a program to its end and return its output.

    ok: exit statuses that count as success. With capture=False the program writes to our own stdout and stderr, and
    nothing of that is returned. tick is called each second while the program runs. timeout is in seconds.
    Raises Failed if the program is missing, too slow, or, with capture, hangs (see hangs), ToolFailed if it ends by a
    signal or with another status.
    """
    command = [os.fspath(a) for a in argv]
    pipe = subprocess.PIPE if capture else None
    stdin = subprocess.DEVNULL if input is None else _in_memory(input)
    try:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=pipe,
            stderr=pipe,
            env=environment(env),
            cwd=cwd,
            text=True,
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise Failed(
            f"cannot run '{command[0]}': no such program", hint="install it, or run inside the live image"
        ) from None
    finally:
        if stdin >= 0:
            os.close(stdin)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        stdout, stderr = _communicate(process, tick, deadline, command)
    except BaseException:
        end(process)
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
    completed = Completed(status=process.returncode, stdout=stdout or "", stderr=stderr or "")
    check(command, completed, ok)
    return completed


def _in_memory(text: str) -> int:
    """Return a file descriptor from which text can be read.

    Not a pipe: after its timeout communicate() forgets what it has not yet written (CPython 3.11 to 3.13).
    """
    fd = os.memfd_create("input")
    with open(fd, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as file:
        file.write(text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _communicate(
    process: "subprocess.Popen[str]",
    tick: Callable[[], None] | None,
    deadline: float | None,
    command: list[str],
) -> tuple[str | None, str | None]:
    # What has the terminal, such as a pager, waits for keys.
    idleness = hangs.Idleness(process.pid) if process.stdout else None
    while True:
        try:
            return process.communicate(timeout=TICK_SECONDS)
        except subprocess.TimeoutExpired:
            if tick:
                tick()
            if deadline is not None and time.monotonic() > deadline:
                raise Failed(f"cannot finish '{shlex.join(command)}': it hangs") from None
            if idleness and idleness.hangs():
                raise _hung(process, command) from None


def _hung(process: "subprocess.Popen[str]", command: list[str]) -> Failed:
    """End a program that hangs; return the error that names it."""
    name, limit = Path(command[0]).name, human_time(hangs.limit_seconds())
    ended = end(process)
    if not ended:
        with suppress(OSError):
            places.HUNG.touch()
    return Failed(
        f"cannot finish '{shlex.join(command)}': {name} did nothing for {limit}"
        + ("" if ended else ", and cannot be ended"),
        hint="dmesg, in a shell, may say what it waits for: check that disk and the filesystem on it",
    )


def end(process: "subprocess.Popen[Any]") -> bool:
    """End a program, and all that it has started; return whether it has ended.

    One that sleeps in the kernel, uninterruptible, may not: it is left behind, as nobody can wait for it.
    """
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return True
        for pid in hangs.family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    return process.poll() is not None


def check(command: Sequence[str], completed: Completed, ok: Container[int] = (0,)) -> None:
    """Raise ToolFailed unless the status is one of ok; a negative status is a signal (subprocess.Popen)."""
    if completed.status in ok:
        return
    if completed.status < 0:
        cause = f"killed by {signal.Signals(-completed.status).name}"
    else:
        said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
        cause = f"exit status {completed.status}" + (f": {quoted(said[-4:])}" if said else "")
    raise ToolFailed(f"cannot run '{shlex.join(command)}': {cause}", completed=completed)
