"""What starts a machine again whose kernel hangs or panics: a hardware watchdog that is fed, and the kernel's own word.

Both serve unattended runs only, and neither those that may leave a disk half done, be it by an earlier boot: in-place
mode and restores. Such a disk must not be booted by itself.

The interface is Documentation/watchdog/watchdog-api.rst of the kernel. Tested with a real one in a guest:
qemu-tests/tests/test_unattended.py.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lvpack_agent.errors import Failed

# A kernel that panics starts the machine again after so many seconds: time to read what it says.
PANIC_SECONDS = 60
# A watchdog that was not fed for FED_SECONDS starts the machine again. Some have one limit only: theirs holds.
FED_SECONDS, FEED_SECONDS = 60, 5.0
# _IOWR('W', 6, int) of include/uapi/linux/watchdog.h.
WDIOC_SETTIMEOUT = 0xC0045706

DEVICE, ABOUT = Path("/dev/watchdog0"), Path("/sys/class/watchdog/watchdog0")
PANIC = Path("/proc/sys/kernel/panic")


class Guards:
    """The watchdog of this machine, if it has one that can be stopped again, and the kernel's answer to a panic."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._fd = -1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="watchdog", daemon=True)

    def arm(self) -> None:
        """Let a machine that hangs, or whose kernel panics, start again. Never raises."""
        with suppress(OSError):
            PANIC.write_text(f"{PANIC_SECONDS}\n")
        if not ABOUT.exists():
            return
        with suppress(OSError):
            name = (ABOUT / "identity").read_text().strip()
            # kernel: Documentation/ABI/testing/sysfs-class-watchdog. Such a one goes on when nobody feeds it any more.
            if (ABOUT / "nowayout").read_text().strip() != "0":
                self._say(f"watchdog: {name} is not used, as it cannot be stopped again")
                return
            self._fd = os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
            with suppress(OSError):
                fcntl.ioctl(self._fd, WDIOC_SETTIMEOUT, struct.pack("i", FED_SECONDS))
            self._thread.start()
            self._say(f"watchdog: {name} starts this machine again if it hangs")

    def disarm(self) -> None:
        """Let this machine stand still if it hangs, or its kernel panics. Raises Failed if that cannot be had."""
        try:
            # Also what a boot menu has asked for (panic=).
            if PANIC.read_text().strip() != "0":
                PANIC.write_text("0\n")
        except OSError as error:
            raise _unstoppable(f"what follows a panic cannot be set: {error.strerror}") from error
        if self._fd >= 0:
            self._over.set()
            self._thread.join()
            fd, self._fd = self._fd, -1
        elif _about("state") == "active":
            # An agent that was killed has left it running, and nobody feeds it.
            fd = _opened()
        else:
            return
        try:
            os.write(fd, b"V")  # it is meant: without it a closed watchdog goes on
        except OSError as error:
            raise _unstoppable(f"its watchdog cannot be stopped: {error.strerror}") from error
        finally:
            os.close(fd)
        if _about("state") == "active":
            raise _unstoppable("its watchdog does not stop")

    def _feed(self) -> None:
        while True:
            with suppress(OSError):
                os.write(self._fd, b"\0")
            if self._over.wait(FEED_SECONDS):
                return


def _about(name: str) -> str:
    """Return what the kernel says of the watchdog, "" if nothing (Documentation/ABI/testing/sysfs-class-watchdog).

    Its state is "active" from when it was opened until it is stopped.
    """
    try:
        return (ABOUT / name).read_text().strip()
    except OSError:
        return ""


def _opened() -> int:
    """Return a file descriptor of a watchdog that runs already. Raises Failed if it cannot be had, or stopped."""
    if _about("nowayout") != "0":
        raise _unstoppable("its watchdog runs, and is one that cannot be stopped (nowayout)")
    try:
        return os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unstoppable(f"its watchdog runs, and cannot be opened: {error.strerror}") from error


def _unstoppable(cause: str) -> Failed:
    return Failed(
        f"cannot keep this machine from starting again by itself: {cause}",
        hint="a disk that is half done must not be booted: switch the watchdog off in the firmware's setup",
    )
