"""A real NFS server in user space (nfs-ganesha), for tests, the demo and `lvpack run --share`."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.processes import DEVNULL, spawn

# What a guest on QEMU's user network calls the host's loopback.
HOST_FROM_GUEST = "10.0.2.2"
START_SECONDS = 30.0

_CONFIG = """
NFS_CORE_PARAM {{
    NFS_Port = {port};
    NFS_Protocols = {protocols};
    Bind_addr = 127.0.0.1;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
    MNT_Port = {mount_port};
}}
NFSv4 {{
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = "{state}";
}}
EXPORT {{
    Export_Id = 1;
    Path = "{folder}";
    Pseudo = "/export";
    Access_Type = {access};
    Squash = None;
    Protocols = {protocols};
    Transports = TCP;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A served folder; url is what a guest mounts, without a slash at its end."""

    folder: Path
    url: str
    port: int


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nfs_share(folder: Path, *, version: int = 4, read_only: bool = False) -> Iterator[Share]:
    """Serve a folder by NFS 4 (or 3, with MOUNT on the next port) on loopback and stop the server at the end.

    Raises Refused if the folder is missing, Failed with the server's log if it does not start.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise Refused(f"cannot serve share '{folder}': there is no such folder", hint="make it with mkdir")
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="lvpack-nfs-") as scratch:
        state = Path(scratch)
        log = state / "ganesha.log"
        (state / "ganesha.conf").write_text(
            _CONFIG.format(
                port=port,
                mount_port=_free_port(),
                protocols=version,
                state=state,
                folder=folder,
                access="RO" if read_only else "RW",
            )
        )
        command: list[str | Path] = ["ganesha.nfsd", "-F", "-f", state / "ganesha.conf", "-L", log, "-p", state / "pid"]
        server = spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        said = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
                        raise Failed(f"cannot start the NFS server: {'; '.join(said)}") from None
                    time.sleep(0.1)
            path = "/export" if version == 4 else str(folder)
            yield Share(folder=folder, url=f"nfs://{HOST_FROM_GUEST}:{port}{path}", port=port)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except Exception:
                server.kill()
                server.wait()
