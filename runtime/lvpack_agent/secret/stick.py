"""Secrets on a stick: a filesystem with the label LVPACK, and in it the folder secrets/.

Tested in guests: qemu-tests/tests/test_shares.py.
"""

import time
from pathlib import Path

from lvpack_agent import guarded, places
from lvpack_agent.devices import lsblk, reading
from lvpack_agent.devices.lsblk import BOOT_LABEL, BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_agent.secret.names import MOST
from lvpack_agent.undo import Undo

FOLDER = "secrets"
# A stick may take its time to be known after a boot.
FIND_SECONDS, POLL_SECONDS = 10.0, 1.0


def from_stick(name: str, *, wait: bool = True) -> bytes | None:
    """Return the secret that a stick has as secrets/NAME; None if there is no stick, or no such file on it.

    Raises Refused if several have the label, or the file is not one that a secret may be in.
    """
    sticks = found(FIND_SECONDS if wait else 0)
    if len(sticks) > 1:
        raise Refused(
            f"cannot choose the stick with secrets: {' and '.join(d.path for d in sticks)} have the label {BOOT_LABEL}",
            hint="take one away, or give it another label",
        )
    for stick in sticks:
        with Undo() as undo:
            folder = places.RUN / "stick"
            folder.mkdir(parents=True, exist_ok=True)
            options = f"{reading.unwritten(stick, undo)},nosuid,nodev,noexec"
            run(["mount", "-t", stick.fstype, "-o", options, stick.path, folder])
            undo.callback(run, ["umount", folder])
            return _read(folder, stick, name)
    return None


def found(seconds: float) -> tuple[BlockDevice, ...]:
    """Return the filesystems with the label; they are waited for so long. The boot medium itself is none."""
    deadline = time.monotonic() + seconds
    while True:
        every = (device for disk in lsblk.read() for device in (disk, *disk.parts))
        sticks = tuple(d for d in every if d.has_secrets)
        if sticks or time.monotonic() > deadline:
            return sticks
        time.sleep(POLL_SECONDS)


def _read(folder: Path, stick: BlockDevice, name: str) -> bytes | None:
    try:
        return guarded.read_bytes(folder / FOLDER / name, MOST, top=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(
            f"cannot use secret '{name}' on {stick.path}: {error.strerror}",
            hint=f"it is a file of at most {MOST:,} bytes in the folder {FOLDER}/",
        ) from None
