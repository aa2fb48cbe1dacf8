"""Folders that are made as a whole or not at all."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_builder.paths import locked

# What a folder of ours has, and no other that might be named by mistake.
MARK = "manifest.json"


def check_replaceable(out: Path) -> None:
    """Raise Refused if a folder holds what lvpack did not put there: a build replaces all of it."""
    if out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir())):
        return
    if out.exists() or out.is_symlink():
        raise Refused(
            f"cannot build into '{out}': it is there already and is no live image",
            hint="name a new folder, an empty one, or one of an earlier build",
        )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give an empty folder beside out, and put it in the place of out at the end.

    After an exception out is as it was and the new folder is gone. One that was left by a killed process (SIGKILL)
    is removed by the next. Raises OSError if the disk is full or cannot be written.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.partial-"
    with locked("outputs"):
        for abandoned in out.parent.glob(prefix + "*"):
            _remove_if_abandoned(abandoned)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
        handle = os.open(scratch, os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        _exchange(out, new, scratch / "old")
    finally:
        remove(scratch)
        os.close(handle)


def _exchange(out: Path, new: Path, old: Path) -> None:
    # An interrupt must find the one or the other in its place.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            # The lock of a process ends with it (flock(2)); while it lives this raises BlockingIOError.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        finally:
            os.close(handle)


def remove(folder: Path) -> None:
    """Remove a folder, if it exists, and nothing on other filesystems that are mounted in it."""
    run(["rm", "--recursive", "--force", "--one-file-system", folder])
