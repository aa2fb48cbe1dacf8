"""Disks served by nbdkit(1), whose filters make them fail."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import DEVNULL, Process, spawn
from lvpack_builder.lab.qemu import Drive

START_SECONDS = 30.0
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A drive, and the server that has it."""

    drive: Drive
    server: "Process[bytes]"

    def end(self) -> None:
        """Let the disk be gone."""
        self.server.kill()
        self.server.wait()


@contextmanager
def served(path: Path, filters: Sequence[str], parameters: Sequence[str]) -> Iterator[Served]:
    """Serve a raw file through filters of nbdkit while the context lasts; its last words are in nbdkit.log beside it.

    Raises Failed with them if it does not start.
    """
    # Not beside the file: the path of a socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="nbd-") as name:
        socket, ready = Path(name) / "socket", Path(name) / "ready"
        command = ["nbdkit", "--foreground", "--exit-with-parent", f"--unix={socket}", f"--pidfile={ready}"]
        command += [*(f"--filter={one}" for one in filters), "file", f"{path}", *parameters]
        with (path.parent / "nbdkit.log").open("ab") as log:
            # TMPDIR: where the cache filter has its file.
            server = spawn(command, stdout=DEVNULL, stderr=log.fileno(), env={"TMPDIR": str(path.parent)})
        try:
            _wait(server, ready, Path(log.name))
            yield Served(drive=Drive(path=socket, nbd=True), server=server)
        finally:
            server.terminate()  # does nothing to a process that was waited for
            server.wait(END_SECONDS)


def _wait(server: "Process[bytes]", ready: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").splitlines()[-3:]
            raise Failed(
                f"cannot serve a disk: {'; '.join(said) or 'nbdkit said nothing'}", hint="see that nbdkit is installed"
            )
        time.sleep(0.02)
