"""A root shell on every console, for `lvpack.action=shell`, `lvpack.onerror=shell` and the menu.

Tested in guests: qemu-tests/tests/test_live_image.py.
"""

import errno
import os
import time
from pathlib import Path

from lvpack_agent import processes
from lvpack_agent.errors import LvpackError
from lvpack_agent.machine.console import on_each


def shell_on(device: Path) -> None:
    """Run a shell on a terminal until the user leaves it."""
    terminal = os.open(device, os.O_RDWR | os.O_NOCTTY)
    try:
        # setsid --ctty makes the terminal the controlling one, so that Ctrl-C works (setsid(1)).
        shell = processes.spawn(
            ["setsid", "--ctty", "--wait", "sh", "-l"], stdin=terminal, stdout=terminal, stderr=terminal
        )
    finally:
        os.close(terminal)
    shell.wait()


def on_every_console() -> None:
    """Keep a shell on every console for ever; `poweroff` and `reboot` end it."""

    def keep(device: Path) -> None:
        while True:
            try:
                shell_on(device)
            except OSError as error:
                if error.errno not in (errno.ENOMEM, errno.EAGAIN):  # fork(2) lacks memory: for a moment, after a run
                    return  # no hardware behind this console
            except (LvpackError, MemoryError):
                pass
            time.sleep(1)

    on_each(keep)
