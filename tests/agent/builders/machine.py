"""An agent in a folder instead of a machine: it reads the folder's command line, and its programs are the folder's."""

import sys
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import Completed, run
from lvpack_agent.report import RESULT_MARK, Report, parse_result

# What it reads of the kernel, and its /run/lvpack. Without consoles it prints.
AGENT = """
import sys
from pathlib import Path
from lvpack_agent import main, places
from lvpack_agent.machine import console, efi_boot, powerbutton, watchdog
from lvpack_agent.shares import nfs
folder = Path(sys.argv[1])
console.COMMAND_LINE, console.ACTIVE_CONSOLES = folder / "cmdline", folder / "active"
places.RUN = folder / "run"
for name in ("LOG", "SAID", "ONERROR", "LEAVES", "NOTIFY", "NETWORK", "SHARE", "AWAY", "HUNG", "SECRETS"):
    setattr(places, name, places.RUN / getattr(places, name).name)
watchdog.PANIC, watchdog.ABOUT, powerbutton.INPUTS = folder / "panic", folder / "watchdog", folder / "input"
watchdog.PANIC.touch()
efi_boot.FIRMWARE, main.LOG_SECONDS = folder / "efi", 1.0
nfs.MOUNTINFO = folder / "mountinfo"
sys.exit(main.main(sys.argv[2:]))
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder with the few programs that an agent finds; busybox ends no machine, it is written down."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Machine":
        """Return a machine without consoles in an empty folder."""
        machine = cls(folder)
        (folder / "bin").mkdir()
        (folder / "active").touch()
        machine.program("sync", "exit 0")
        machine.program("dmesg", "exit 0")
        machine.program("busybox", f'echo "$@" >> {folder}/ended-by')
        return machine

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def boot(self, words: bytes, *arguments: str) -> Completed:
        (self.folder / "cmdline").write_bytes(words + b"\n")
        environment = {"PATH": str(self.folder / "bin")}
        command = [sys.executable, "-c", AGENT, str(self.folder), *arguments]
        return run(command, env=environment, ok=range(-64, 256), timeout=45)

    def ended_by(self) -> str:
        path = self.folder / "ended-by"
        return path.read_text() if path.exists() else ""

    def said(self) -> str:
        return (self.folder / "run/said").read_text()


def only_result(completed: Completed) -> Report:
    """Return the one result that an agent said."""
    [line] = [line for line in completed.stdout.splitlines() if RESULT_MARK in line]
    return parse_result(line)
