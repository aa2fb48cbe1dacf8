"""Disks for power cuts, of the two extremes that real ones lie between: what survives, only flushes or every write.

A volatile disk is nbdkit's cache filter before a file. What that filter (1.32) was seen to do: writes and
write-zeroes stay in its cache until a flush, or until they carry FUA; neither a client that goes away nor SIGTERM
writes them back, but QEMU flushes before it ends by itself. A discard is no write to it: it reaches the file at once,
the hardest thing that a disk may do, while the guest goes on reading what the cache has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.nbd import served
from lvpack_agent.processes import Process
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.qemu import Drive

VOLATILE, PLAIN = KINDS = ("volatile", "plain")


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
    # Small blocks: a flushed or forced write takes its whole block of the cache along.
    with served(path, ["cache"], ["cache=writeback", "cache-min-block-size=4096"]) as disk:
        yield Disk(drive=disk.drive, server=disk.server)
