"""Disks for power cuts, of the two extremes that real ones lie between: what survives, only flushes or every write.

A volatile disk is nbdkit's cache filter before a file. What that filter (1.32) was seen to do: writes and
write-zeroes stay in its cache until a flush, or until they carry FUA; neither a client that goes away nor SIGTERM
writes them back, but QEMU flushes before it ends by itself. A discard is no write to it: it reaches the file at once,
the hardest thing that a disk may do, while the guest goes on reading what the cache has.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import DEVNULL, Process, spawn
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.qemu import Drive

VOLATILE, PLAIN = KINDS = ("volatile", "plain")
START_SECONDS = 30.0
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A drive for one machine, and the server that has what it did not flush; without one, every write is safe."""

    drive: Drive
    server: "Process[bytes] | None" = None


def cut(console: Console, *disks: Disk) -> None:
    """End a machine and its disks as a power cut does.

    The machine stands still first: it must not see its disks go. Their files are what the power cut left on return.
    """
    console.freeze()
    for disk in disks:
        if disk.server:
            disk.server.kill()
            disk.server.wait()
    console.kill()


@contextmanager
def powered(path: Path, kind: str) -> Iterator[Disk]:
    """Yield the disk in a raw file, volatile or plain, for one machine, which must have ended at the end.

    Raises Failed with the server's last words if it does not start.
    """
    if kind == PLAIN:
        yield Disk(drive=Drive(path=path))
        return
    with ExitStack() as undo:
        # Not beside the file: the path of a socket has room for 107 bytes (unix(7)).
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="volatile-")))
        socket, ready = folder / "socket", folder / "ready"
        command = ["nbdkit", "--foreground", "--exit-with-parent", f"--unix={socket}", f"--pidfile={ready}"]
        # Small blocks: a flushed or forced write takes its whole block of the cache along.
        command += ["--filter=cache", "file", f"{path}", "cache=writeback", "cache-min-block-size=4096"]
        with (path.parent / "nbdkit.log").open("ab") as log:
            # TMPDIR: where the cache is.
            server = spawn(command, stdout=DEVNULL, stderr=log.fileno(), env={"TMPDIR": str(path.parent)})
        undo.callback(_stop, server)
        _wait(server, ready, Path(log.name))
        yield Disk(drive=Drive(path=socket, nbd=True), server=server)


def _wait(server: "Process[bytes]", ready: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").splitlines()[-3:]
            raise Failed(
                f"cannot start the volatile disk: {'; '.join(said) or 'it said nothing'}",
                hint="see that nbdkit is installed",
            )
        time.sleep(0.02)


def _stop(server: "Process[bytes]") -> None:
    server.terminate()  # does nothing to a process that was waited for
    server.wait(END_SECONDS)
