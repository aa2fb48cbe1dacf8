"""A share, mounted for the time of a run.

Tested in guests, with a real server: qemu-tests/tests/test_bad_input.py, test_main_job.py.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Ended, Failed, LvpackError
from lvpack_agent.network.up import Network
from lvpack_agent.processes import run
from lvpack_agent.session import Session
from lvpack_agent.shares.nfs import NFS_PORT, device_number, mount
from lvpack_agent.shares.patience import Watch
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.undo import Undo

REACH_SECONDS = 30.0


@contextmanager
def mounted(
    url: ShareUrl, folder: Path, network: Network, session: Session, *, read_only: bool, patience: float
) -> Iterator[Path]:
    """Bring the network up, mount a share, yield its folder, and unmount it.

    Raises Failed if the server cannot be reached or does not give the folder; later also if it does not answer for
    patience, in seconds (see patience.Watch).
    """
    network.up(session.say)
    _reach(url)
    folder.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        version = mount(url, folder, read_only)
        # To the very end: unmounting may wait for the server, too.
        watch = undo.enter_context(Watch(str(url), folder, device_number(folder), patience, session))
        # What still holds the share must not keep the machine from ending its run.
        undo.callback(run, ["umount", "-l", str(folder)])
        session.say(f"share: {url} mounted by NFS {version}")
        try:
            yield folder
        except Exception as error:
            if not watch.is_given_up:
                raise
            raise _given_up(watch.failure(), error) from error


def _given_up(failure: Failed, came_of_it: Exception) -> LvpackError:
    """Return the error of a share that was given up, with what people must know of what came of it."""
    if isinstance(came_of_it, Ended):  # why it was given up
        message = f"{came_of_it.message}; {failure.message}"
        return Ended(message, hint=came_of_it.hint, remains=came_of_it.remains)
    remains = came_of_it.remains if isinstance(came_of_it, LvpackError) else ""
    return Failed("; ".join(filter(None, [failure.message, remains])), hint=failure.hint, remains=remains)


def _reach(url: ShareUrl) -> None:
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            socket.create_connection((url.host, url.port or NFS_PORT), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(
                    f"cannot reach share '{url}': {error.strerror or error}",
                    hint="check the host, the port and that its NFS server is running",
                ) from None
            time.sleep(1)
