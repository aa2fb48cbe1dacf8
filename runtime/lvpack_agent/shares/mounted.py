"""Shares: where image sets live, mounted for the time of a run."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lvpack_agent.errors import Failed
from lvpack_agent.network import up as network
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.undo import Undo

NFS_PORT = 2049
REACH_SECONDS = 30.0
CLIENT_ID = Path("/sys/module/nfs/parameters/nfs4_unique_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareUrl:
    """A parsed share URL; port is None where the scheme's own applies."""

    scheme: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path}"

    def parent(self) -> tuple["ShareUrl", str]:
        """Return the URL of the folder above and the last name of the path."""
        above, _, name = self.path.rstrip("/").rpartition("/")
        return ShareUrl(scheme=self.scheme, host=self.host, port=self.port, path=above or "/"), name


def parse(url: str) -> ShareUrl:
    """Read a URL that lvpack_agent.settings has accepted."""
    parts = urlsplit(url)
    return ShareUrl(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, path=unquote(parts.path))


@contextmanager
def mounted(url: ShareUrl, folder: Path, say: Callable[[str], None], *, read_only: bool) -> Iterator[Path]:
    """Bring the network up, mount a share, yield its folder, and unmount it.

    Raises Failed if the server cannot be reached or does not give the folder.
    """
    network.up(say)
    _reach(url)
    folder.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        version = _mount_nfs(url, folder, read_only)
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


def _introduce() -> None:
    """Let NFS 4 servers tell this boot from others.

    They know a client by its host name, which is the same in every live image; one that comes in another's name ends
    what that one has open (RFC 8881, 2.4; kernel: Documentation/filesystems/nfs/client-identifier.rst).
    """
    run(["modprobe", "nfs"], ok=(0, 1))  # that there is none is said by mount
    with suppress(OSError):
        if not CLIENT_ID.read_text().strip():
            CLIENT_ID.write_text(secrets.token_hex(8))


def _mount_nfs(url: ShareUrl, folder: Path, read_only: bool) -> str:
    # soft: a run must end with a result, not hang, when the server vanishes; each write is checked and read back.
    # A request is tried for about a minute (timeo in tenths of a second, nfs(5)).
    common = f"soft,timeo=150,retrans=3,retry=0,{'ro' if read_only else 'rw'}"
    port = f",port={url.port}" if url.port else ""
    # NFS 3 finds ports by rpcbind; a URL with a port is for servers that serve MOUNT there too. Nothing is locked.
    # NFS 4.2 is left out on purpose: its READ_PLUS was seen to read zeros for data from nfs-ganesha 4.3.
    attempts = {
        "4.1": f"vers=4.1{port}",
        "4.0": f"vers=4.0{port}",
        "3": f"vers=3,nolock,proto=tcp,mountproto=tcp{port}{port.replace(',port', ',mountport')}",
    }
    _introduce()
    causes = []
    source = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.path}"
    for version, options in attempts.items():
        try:
            run(["mount", "-t", "nfs", "-o", f"{common},{options}", source, str(folder)])
            return version
        except ToolFailed as failed:
            causes.append(f"NFS {version}: {'; '.join(failed.completed.stderr.strip().splitlines()[-1:])}")
    raise Failed(
        f"cannot mount share '{url}': {'; '.join(causes)}",
        hint="check that the server exports this path to this machine",
    )
