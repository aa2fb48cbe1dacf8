"""The power button: the kernel says that it was pressed, and nobody else listens in the live image.

Tested in a guest: qemu-tests/tests/test_unattended.py.
"""

import os
import select
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

INPUTS, DEVICES = Path("/sys/class/input"), Path("/dev/input")
# include/uapi/linux/input-event-codes.h and input.h of the kernel: a time of two longs, type, code and value.
EV_KEY, KEY_POWER = 1, 116
EVENT = struct.Struct("llHHi")
DOWN = 1
_WORD = struct.calcsize("l") * 8


def has_power_key(capabilities: str) -> bool:
    """Return whether an input device has the key, by capabilities/key in sysfs: words of a bitmap, highest first."""
    words = capabilities.split()[::-1]
    at, bit = divmod(KEY_POWER, _WORD)
    return at < len(words) and bool(int(words[at], 16) >> bit & 1)


def pressed(events: bytes) -> bool:
    """Return whether events of an input device say that the power button was pressed."""
    found = (EVENT.unpack_from(events, at) for at in range(0, len(events) - EVENT.size + 1, EVENT.size))
    return any(event[2:] == (EV_KEY, KEY_POWER, DOWN) for event in found)


def listen(then: Callable[[], None]) -> None:
    """Call a function whenever a power button is pressed, from a thread of its own."""
    fds = []
    for path in sorted(INPUTS.glob("event*")):
        with suppress(OSError, ValueError):
            if has_power_key((path / "device/capabilities/key").read_text()):
                fds.append(os.open(DEVICES / path.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    if fds:
        threading.Thread(target=_loop, args=(fds, then), name="power button", daemon=True).start()


def _loop(fds: list[int], then: Callable[[], None]) -> None:
    while fds:
        readable, _, _ = select.select(fds, [], [])
        for fd in readable:
            try:
                events = os.read(fd, 64 * EVENT.size)
            except OSError:  # unplugged
                fds.remove(fd)
                continue
            if pressed(events):
                then()
