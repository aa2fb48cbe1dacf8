"""A share, mounted for the time of a run.

Tested in guests, with a real server: qemu-tests/tests/test_bad_input.py, test_main_job.py.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.network.up import Network
from lvpack_agent.processes import run
from lvpack_agent.shares.nfs import NFS_PORT, mount
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.undo import Undo

REACH_SECONDS = 30.0


@contextmanager
def mounted(
    url: ShareUrl, folder: Path, network: Network, say: Callable[[str], None], *, read_only: bool
) -> Iterator[Path]:
    """Bring the network up, mount a share, yield its folder, and unmount it.

    Raises Failed if the server cannot be reached or does not give the folder.
    """
    network.up(say)
    _reach(url)
    folder.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        version = mount(url, folder, read_only)
        # A server that is gone must not keep the machine from ending its run.
        undo.callback(run, ["umount", "-l", str(folder)])
        say(f"share: {url} mounted by NFS {version}")
        yield folder


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
