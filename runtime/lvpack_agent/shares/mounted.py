"""A share, mounted or opened for the time of a run.

Tested in guests, with real servers: qemu-tests/tests/test_bad_input.py, test_main_job.py, test_shares.py.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from lvpack_agent.errors import Ended, Failed, LvpackError
from lvpack_agent.network.up import Network
from lvpack_agent.processes import run
from lvpack_agent.session import Session
from lvpack_agent.settings.share_options import BY_NAME as SHARE_BY_NAME
from lvpack_agent.settings.urls import SCHEMES
from lvpack_agent.shares import file, nfs, smb
from lvpack_agent.shares.patience import Watch
from lvpack_agent.shares.rate import Rate
from lvpack_agent.shares.share import Access, Mount, Share
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.sizes import human
from lvpack_agent.undo import Undo

REACH_SECONDS = 30.0
UNMOUNT_SECONDS = 300.0

MOUNTS: dict[str, Callable[[ShareUrl, Path, Access], Mount]] = {
    "nfs": nfs.mount,
    "smb": smb.mount,
    "file": file.mount,
}


def _client(scheme: str) -> Callable[[ShareUrl, Path, Access, Session], AbstractContextManager[Share]] | None:
    """Return what opens a share that is no folder of this machine; None for one that is mounted.

    Its rooms are imported when they are needed: a small machine does without TLS and XML.
    """
    if scheme in ("sftp", "ssh"):
        from lvpack_agent.shares import sftp

        return sftp.opened
    if scheme in ("https", "http"):
        from lvpack_agent.shares import http

        return http.opened
    if scheme == "s3":
        from lvpack_agent.shares import s3

        return s3.opened
    return None


@contextmanager
def mounted(url: ShareUrl, folder: Path, network: Network, session: Session, access: Access) -> Iterator[Share]:
    """Mount a share on a folder, or open it, with the network up if a server has it; yield it, and let go of it.

    Raises Failed if the server cannot be reached or does not give the folder; later also if it does not answer for
    access.patience (see patience.Watch). Refused as the scheme's module says.
    """
    if not SCHEMES[url.scheme].local:
        network.up(session.say)
        if SCHEMES[url.scheme].port:
            _reach(url, access.options.proxy if url.scheme in SHARE_BY_NAME["proxy"].schemes else "")
    if client := _client(url.scheme):
        with client(url, folder.with_name(f"{folder.name}-new"), access, session) as share:
            session.say(f"share: {url} opened")
            yield _at_a_rate(share, access, session)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        found = MOUNTS[url.scheme](url, folder, access)
        undo.callback(found.close)
        if not found.is_remote:
            undo.callback(_unmount, folder)
            session.say(f"share: {url} mounted: {found.how}")
            yield _at_a_rate(_share(url, folder, found), access, session)
            return
        # To the very end: unmounting may wait for the server, too.
        watch = undo.enter_context(Watch(str(url), folder, found.give_up, access.patience, session, found.passing))
        # What still holds the share must not keep the machine from ending its run.
        undo.callback(run, ["umount", "-l", str(folder)])
        session.say(f"share: {url} mounted by {found.how}")
        try:
            share = _at_a_rate(_share(url, folder, found), access, session)
            yield replace(share, again=lambda error: error.errno in found.passing and not watch.is_given_up)
        except Exception as error:
            if not watch.is_given_up:
                raise
            raise _given_up(watch.failure(), error) from error


def _share(url: ShareUrl, folder: Path, found: Mount) -> Share:
    return Share(name=str(url), folder=folder, device=found.device, largest=found.largest, no_journal=found.no_journal)


def _at_a_rate(share: Share, access: Access, session: Session) -> Share:
    """Return a share that takes and gives images as lvpack.rate says; one that cares for that itself stays as it is."""
    if not access.rate:
        return share
    session.say(f"share: images go there and come from there with at most {human(access.rate)}/s (lvpack.rate)")
    return share if share.rate else replace(share, rate=Rate(access.rate, session.is_ending))


def _unmount(folder: Path) -> None:
    """Unmount a disk, so that all of it is there when the machine goes off; what holds it does not keep it."""
    if run(["umount", str(folder)], ok=(0, 32), timeout=UNMOUNT_SECONDS).status:
        run(["umount", "-l", str(folder)])


def _given_up(failure: Failed, came_of_it: Exception) -> LvpackError:
    """Return the error of a share that was given up, with what people must know of what came of it."""
    if isinstance(came_of_it, Ended):  # why it was given up
        message = f"{came_of_it.message}; {failure.message}"
        return Ended(message, hint=came_of_it.hint, remains=came_of_it.remains)
    remains = came_of_it.remains if isinstance(came_of_it, LvpackError) else ""
    return Failed("; ".join(filter(None, [failure.message, remains])), hint=failure.hint, remains=remains)


def _reach(url: ShareUrl, proxy: str) -> None:
    """Wait until a server, or the proxy before it, takes a connection. Raises Failed."""
    parts = urlsplit(proxy)
    host, port = parts.hostname or url.host, parts.port or url.port or SCHEMES[url.scheme].port
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(
                    f"cannot reach {f'proxy {proxy} of ' if proxy else ''}share '{url}': {error.strerror or error}",
                    hint="check lvpack.share=proxy=, and that the proxy is running"
                    if proxy
                    else f"check the host, the port and that its {url.scheme.upper()} server is running",
                ) from None
            time.sleep(1)
