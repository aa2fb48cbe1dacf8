"""What people see: every line goes to each console of the kernel, and to the log that the image set keeps."""

import os
import re
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from lvpack_agent.errors import LvpackError
from lvpack_agent.machine import resultport
from lvpack_agent.printable import printable
from lvpack_agent.processes import run
from lvpack_agent.report import Report

COMMAND_LINE = Path("/proc/cmdline")
ACTIVE_CONSOLES = Path("/sys/class/tty/console/active")
STALLED_SECONDS = 2.0


def command_line() -> str:
    """Return the kernel's command line; a byte of it that is not UTF-8 stands there as four characters, e.g. \\xfc."""
    return COMMAND_LINE.read_text(encoding="utf-8", errors="backslashreplace")


def console_devices() -> tuple[Path, ...]:
    """Return the terminals behind /dev/console, e.g. /dev/tty0 and /dev/ttyS0 (Documentation/ABI: sysfs-tty).

    The kernel itself speaks on one console of each driver; those that `console=` names beside it are returned too.
    """
    try:
        active, asked = ACTIVE_CONSOLES.read_text(), command_line()
    except OSError:
        return ()
    return tuple(Path("/dev", name) for name in dict.fromkeys([*active.split(), *named(asked)]))


def named(command_line: str) -> dict[str, str]:
    """Return the consoles of a kernel command line, name → speed in bit/s or "" (kernel-parameters: console=)."""
    found = re.findall(r"(?:^|\s)console=([A-Za-z]+[0-9]*)(?:,(\d*))?", command_line)
    return {name: speed for name, speed in found if name != "null"}


def set_speeds(command_line: str) -> None:
    """Set the speed of serial consoles that `console=` names and the kernel does not use itself."""
    with suppress(OSError, LvpackError):  # no reason to end a run for
        active = ACTIVE_CONSOLES.read_text().split()
        for name, speed in named(command_line).items():
            if speed and name not in active and Path("/dev", name).exists():
                run(["stty", "-F", f"/dev/{name}", speed], ok=(0, 1))  # 1: there is no hardware behind this name


def on_each(serve: Callable[[Path], None]) -> None:
    """Serve every console of this machine in a thread of its own; return when all have ended."""
    threads = [threading.Thread(target=serve, args=[device], daemon=True) for device in console_devices()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Console:
    """Writes lines to all consoles and a log file; a console that does not take a line in time misses it."""

    def __init__(self, devices: tuple[Path, ...], log: Path | None, echo: TextIO | None = None) -> None:
        self._fds = []
        self._echo = echo
        for device in devices:
            try:
                self._fds.append(os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK))
            except OSError:
                continue  # `console=` may name hardware that is not there
        self.log = log
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._log_begin = 0
        if log:
            with suppress(OSError):  # people hear what cannot be kept all the same
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("ab") as file:
                    if file.tell():  # of an earlier run of this boot, whose reason to fail may be in there
                        file.write(f"=== another run, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())
                    self._log_begin = file.tell()

    @classmethod
    def of_this_machine(cls, log: Path | None) -> "Console":
        """Return all the consoles of this machine; without one (a container), standard output."""
        devices = console_devices()
        return cls(devices, log, None if devices else sys.stdout)

    def say(self, text: str = "") -> None:
        """Print a line, what does not print in it being escaped, and log it with the seconds since the start."""
        self._say(printable(text))

    def result(self, report: Report) -> None:
        """Print the line that programs read; no other one has its mark. The hypervisor gets it by a port of its own."""
        resultport.send(report.line())
        self._say(report.line())

    def _say(self, line: str) -> None:
        with self._lock:  # progress comes from a thread of its own
            self._write(line)
            if self.log:
                with suppress(OSError), self.log.open("a", encoding="utf-8") as log:
                    log.write(f"[{time.monotonic() - self._started:8.2f}] {line}\n")

    def logged(self) -> str:
        """Return what this run has logged so far; "" if nothing could be kept."""
        if not self.log:
            return ""
        try:
            with self.log.open("rb") as file:
                file.seek(self._log_begin)
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _write(self, line: str) -> None:
        data = line.encode() + b"\r\n"
        for fd in self._fds:
            rest = data
            while rest:
                _, ready, _ = select.select([], [fd], [], STALLED_SECONDS)
                if not ready:
                    break
                try:
                    rest = rest[os.write(fd, rest) :]
                except OSError:
                    break
        if self._echo:
            print(line, file=self._echo, flush=True)
