"""The port of a virtual machine by which its hypervisor gets the result: no name on a disk comes out of it.

A machine has it if its hypervisor gave it a virtio serial port of that name, whose device udev names
(50-udev-default.rules).
"""

import os
import select
import time
from pathlib import Path

NAME = "org.lvpack.result"
PORT = Path("/dev/virtio-ports", NAME)
# A hypervisor that takes nothing holds up nobody for longer.
STALLED_SECONDS = 5.0


def send(line: str) -> None:
    """Write a line into the port, if there is one; a hypervisor that does not take it misses it."""
    try:
        port = os.open(PORT, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return
    try:
        rest, deadline = line.encode() + b"\n", time.monotonic() + STALLED_SECONDS
        while rest and select.select([], [port], [], max(0.0, deadline - time.monotonic()))[1]:
            rest = rest[os.write(port, rest) :]
    except OSError:
        pass  # the consoles have it as well
    finally:
        os.close(port)
