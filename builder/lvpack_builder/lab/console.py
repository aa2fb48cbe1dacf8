"""The serial console of a virtual machine, driven by markers that cannot be guessed and by deadlines.

No unit test: it is about a real machine's timing, which every end-to-end test meets.
"""

import json
import os
import re
import secrets
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pexpect

from lvpack_agent.errors import Failed
from lvpack_agent.printable import quoted
from lvpack_agent.report import RESULT_MARK, Report, parse_result
from lvpack_builder.lab.qemu import Machine
from lvpack_builder.lab.tee import Tee

# How often the port is looked at, and how long the console may be behind it.
PORT_SECONDS, ECHO_SECONDS = 0.5, 10.0
# A pattern of pexpect matches anywhere; what was read before is gone, so that the line may begin what is left.
_RESULT_LINE = r"(?:^|[\r\n])" + RESULT_MARK + r"(\{[^\r\n]*)\r*\n"


class Console:
    """A running machine; every wait has a deadline in seconds, and what was seen stands in the transcript."""

    def __init__(self, child: "pexpect.spawn[bytes]", transcript: Path, results: Path | None = None) -> None:
        self._child = child
        self.transcript = transcript
        self._results = results
        self._taken = 0

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
        last = self._last_words()
        return Failed(f"cannot see '{pattern}' on the console: the machine {what}; its last words: {last}")

    def _last_words(self) -> str:
        return quoted(self.transcript.read_bytes()[-600:].decode(errors="replace").splitlines())

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
        """Wait for the agent's result: by the port of a machine that reports, whatever its console says.

        Each in its turn, also of runs whose output was read otherwise. Of another machine it is what a line of the
        console begins with. Raises Failed if it does not come or cannot be
        read.
        """
        if not self._results:
            return read_result(self.expect(_RESULT_LINE, deadline)[1].decode(errors="replace"))
        ends, seen = time.monotonic() + deadline, False
        while (line := self._reported()) is None:
            try:
                seen = bool(self.watch(_RESULT_LINE, min(PORT_SECONDS, max(0.0, ends - time.monotonic())))) or seen
            except Failed:
                line = self._reported()  # it was the last that the machine did
                if line is None:
                    raise self._no_result("ended") from None
                break
            if time.monotonic() > ends:
                raise self._no_result(f"gave none in {deadline:.0f} s")
        if not seen:
            with suppress(Failed):  # what a test waits for next comes after it on the console
                self.watch(_RESULT_LINE, ECHO_SECONDS)
        return read_result(line)

    def _reported(self) -> str | None:
        """Return the next result that has come by the port, without its mark, once all of it has."""
        assert self._results
        lines = self._results.read_bytes().decode(errors="replace").split("\n")[self._taken : -1]
        if not lines:
            return None
        self._taken += 1
        return lines[0].removeprefix(RESULT_MARK)

    def _no_result(self, what: str) -> Failed:
        return Failed(
            f"cannot read the result of the run by the machine's port: it {what}; its last words: {self._last_words()}",
            hint="an image of version 0.1.0 knows no such port: build it again",
        )

    def wait(self, deadline: float) -> None:
        """Wait until the machine is switched off. Raises Failed if it is not in time, or QEMU ended badly."""
        try:
            self._child.expect(pexpect.EOF, timeout=deadline)
        except pexpect.TIMEOUT:
            raise Failed(
                f"cannot see the machine's end: it still runs after {deadline:.0f} s", hint=f"see {self.transcript}"
            ) from None
        if self._child.wait() != 0:
            raise Failed(f"cannot run the machine: QEMU ended with {self._child.exitstatus}: {self._last_words()}")

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


@contextmanager
def running(
    machine: Machine, accelerator: str, transcript: Path, *, echo: bool = False, note: str = ""
) -> Iterator[Console]:
    """Start a machine and yield its console; it is killed at the end if it still runs. note: for the transcript."""
    results = transcript.with_suffix(".result")
    command = machine.command(accelerator, results)
    transcript.parent.mkdir(parents=True, exist_ok=True)
    with _own(transcript) as log:
        log.write("".join(f"# {line}\n" for line in note.splitlines()).encode())
        log.write(f"# {time.strftime('%FT%T')} {shlex.join(command)}\n".encode(errors="replace"))
        if machine.reports:
            _own(results).close()
        try:
            child: pexpect.spawn[bytes] = pexpect.spawn(command[0], command[1:], timeout=30, maxread=65536)
        except pexpect.ExceptionPexpect:
            raise Failed(
                f"cannot run a virtual machine: there is no program '{command[0]}'",
                hint="apt-get install qemu-system-x86",
            ) from None
        # Only what the machine says, not what is typed: the echo brings that back.
        child.logfile_read = tee = Tee(log, echo)
        child.delaybeforesend = None
        try:
            yield Console(child, transcript, results if machine.reports else None)
        finally:
            child.close(force=True)
            tee.close()


def _own(path: Path) -> BinaryIO:
    """Open an empty file that nobody else may read: consoles say what is on disks."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
