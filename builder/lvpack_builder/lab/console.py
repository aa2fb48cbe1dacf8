"""The serial console of a virtual machine, driven by markers that cannot be guessed and by deadlines.

No unit test: it is about a real machine's timing, which every end-to-end test meets.
"""

import json
import os
import re
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect

from lvpack_agent.errors import Failed
from lvpack_agent.report import RESULT_MARK, Report, parse_result
from lvpack_builder.lab.qemu import Machine


class Console:
    """A running machine; every wait has a deadline in seconds, and what was seen stands in the transcript."""

    def __init__(self, child: "pexpect.spawn[bytes]", transcript: Path) -> None:
        self._child = child
        self.transcript = transcript

    def expect(self, pattern: str, deadline: float) -> re.Match[bytes]:
        """Wait for a pattern. Raises Failed with the last lines seen if it does not come, or the machine ends."""
        match = self.watch(pattern, deadline)
        if match is None:
            raise self._unseen(pattern, f"did not say it in {deadline:.0f} s")
        return match

    def watch(self, pattern: str, seconds: float) -> re.Match[bytes] | None:
        """Wait for a pattern that may not come: None after so many seconds. Raises Failed if the machine ends."""
        try:
            self._child.expect(pattern.encode(), timeout=seconds)
        except pexpect.TIMEOUT:
            return None
        except pexpect.EOF:
            raise self._unseen(pattern, "ended") from None
        match = self._child.match
        assert isinstance(match, re.Match)
        return match

    def _unseen(self, pattern: str, what: str) -> Failed:
        last = self.transcript.read_bytes()[-600:].decode(errors="replace")
        return Failed(f"cannot see '{pattern}' on the console: the machine {what}; its last words: {last}")

    def send(self, text: str) -> None:
        """Type a line; bytes that are not UTF-8 are surrogates in it, as in file names (os.fsencode)."""
        self._child.sendline(os.fsencode(text))

    def shell(self, command: str, deadline: float) -> "Answer":
        """Run a command in the shell on the console and return its status and output."""
        begin, end = secrets.token_hex(8), secrets.token_hex(8)
        # The echo of what is typed has the halves apart, so that only the output has the marks. The line break
        # before the last parenthesis lets a command end with a here-document.
        self.send(f"printf '%s%s\\n' {_halves(begin)}; ( {command}\n) 2>&1; printf '%s%s:%d:\\n' {_halves(end)} $?")
        # No line end is waited for: a message of the kernel may follow a mark on its line.
        self.expect(begin, deadline)
        # A pattern that matches the output too is tried on all of it at each byte that comes.
        match = self.expect(rf"{end}:(\d+):", deadline)
        output = re.sub(r"\r+\n", "\n", (self._child.before or b"").decode(errors="replace"))
        return Answer(status=int(match[1]), output=output.removeprefix("\n"))

    def result(self, deadline: float) -> Report:
        """Wait for the agent's result line. Raises Failed if it does not come or cannot be read."""
        match = self.expect(RESULT_MARK + r"(\{[^\r\n]*)\r*\n", deadline)
        return read_result(match[1].decode(errors="replace"))

    def wait(self, deadline: float) -> None:
        """Wait until the machine is switched off. Raises Failed if it is not in time, or QEMU ended badly."""
        try:
            self._child.expect(pexpect.EOF, timeout=deadline)
        except pexpect.TIMEOUT:
            raise Failed(
                f"cannot see the machine's end: it still runs after {deadline:.0f} s", hint=f"see {self.transcript}"
            ) from None
        if self._child.wait() != 0:
            last = self.transcript.read_bytes()[-600:].decode(errors="replace")
            raise Failed(f"cannot run the machine: QEMU ended with {self._child.exitstatus}: {last}")

    def cpu_seconds(self) -> float:
        """Return the processor time that QEMU took since its start."""
        # utime and stime, after the name in parentheses (proc_pid_stat(5)).
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def freeze(self) -> None:
        """Stop the machine between two instructions; return when it stands still, or has ended."""
        assert self._child.pid is not None
        self._child.kill(signal.SIGSTOP)
        os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """End the machine at once, as a power cut does; what it had said can still be read."""
        self._child.kill(9)
        self._child.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Exit status and output of a shell command in a guest."""

    status: int
    output: str


def _halves(mark: str) -> str:
    return f"{mark[:8]} {mark[8:]}"


def read_result(text: str) -> Report:
    """Read the JSON of a result line; what stands after it on the line is not the agent's. Raises Failed."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
        return parse_result(RESULT_MARK + text[:end])
    except ValueError as error:
        raise Failed(f"cannot read the result of the run: {error} in {text}") from error


class _Tee:
    def __init__(self, file: Any, echo: bool) -> None:
        self._file, self._echo = file, echo

    def write(self, data: bytes) -> None:
        self._file.write(data)
        if self._echo:
            sys.stdout.write(data.decode(errors="replace").replace("\r", ""))

    def flush(self) -> None:
        self._file.flush()
        if self._echo:
            sys.stdout.flush()


@contextmanager
def running(
    machine: Machine, accelerator: str, transcript: Path, *, echo: bool = False, note: str = ""
) -> Iterator[Console]:
    """Start a machine and yield its console; it is killed at the end if it still runs. note: for the transcript."""
    command = machine.command(accelerator)
    transcript.parent.mkdir(parents=True, exist_ok=True)
    with transcript.open("wb") as log:
        log.write("".join(f"# {line}\n" for line in note.splitlines()).encode())
        log.write(f"# {time.strftime('%FT%T')} {shlex.join(command)}\n".encode(errors="replace"))
        try:
            child: pexpect.spawn[bytes] = pexpect.spawn(command[0], command[1:], timeout=30, maxread=65536)
        except pexpect.ExceptionPexpect:
            raise Failed(
                f"cannot run a virtual machine: there is no program '{command[0]}'",
                hint="apt-get install qemu-system-x86",
            ) from None
        # Only what the machine says, not what is typed: the echo brings that back.
        child.logfile_read = _Tee(log, echo)
        child.delaybeforesend = None
        try:
            yield Console(child, transcript)
        finally:
            child.close(force=True)
