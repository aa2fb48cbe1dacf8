"""A real NFS server in user space (nfs-ganesha), for tests, the demo and `lvpack run --share`."""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.processes import DEVNULL, Process, run, spawn
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK, MOUNT, NFS, relay

# What a guest on QEMU's user network calls the loopback of the network that QEMU runs in.
HOST_FROM_GUEST = "10.0.2.2"
START_SECONDS = 30.0
PSEUDO = "/export"

_CONFIG = """
NFS_CORE_PARAM {{
    NFS_Port = {port};
    NFS_Protocols = {protocols};
    Bind_addr = {address};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
    MNT_Port = {mount_port};
    # Without CAP_SYS_RESOURCE, as in a container, nfs-ganesha 6 (Debian 13) else gives up; 4 has no such question.
    allow_set_io_flusher_fail = true;
    # NFS 3 clients name the share as those of NFS 4 do, and not by its path on this machine.
    mount_path_pseudo = true;
}}
NFSv4 {{
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = "{state}";
}}
EXPORT {{
    Export_Id = 1;
    Path = "{folder}";
    Pseudo = "{pseudo}";
    Access_Type = {access};
    Squash = {squash};
    # As other servers have it (exports(5)); the default of nfs-ganesha has 32 bits.
    Anonymous_Uid = 65534;
    Anonymous_Gid = 65534;
    Protocols = {protocols};
    Transports = TCP;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
"""

# nfs-ganesha does not start NFS 3 without an rpcbind. This one has its socket in a /run that nobody else sees and
# its port 111 in a network without interfaces; both end with the server, the first process of their PID namespace.
_WITH_RPCBIND = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c")
_START = 'mount -t tmpfs tmpfs /run && unshare --net rpcbind && exec "$0" "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A served folder; url is what a guest mounts, without a slash at its end."""

    folder: Path
    url: str
    port: int


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextmanager
def nfs_share(
    folder: Path,
    *,
    version: int = 4,
    read_only: bool = False,
    port: int | None = None,
    address: str = LOOPBACK,
    squash: str = "None",
) -> Iterator[Share]:
    """Serve a folder by NFS 4, or by NFS 3 with MOUNT on the same port; stop the server at the end.

    address: where it listens, by default loopback. squash: whose requests are nobody's, as nfs-ganesha's Squash has it.

    It believes each client that it is root. So it, this thread and all that the thread starts are in a network of their
    own meanwhile (lab.private), and only guests that are started there reach it.

    Raises Refused if the folder is missing or there may be no such network, Failed with the server's last words if it
    does not start.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise Refused(f"cannot serve share '{folder}': there is no such folder", hint="make it with mkdir")
    with ExitStack() as undo:
        undo.enter_context(private_network())
        own = port if port and version == 4 else free_port(address)
        mount = free_port(address)
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-nfs-")))
        config = _CONFIG.format(
            address=address,
            port=own,
            mount_port=mount,
            protocols=version,
            state=state,
            folder=folder,
            squash=squash,
            pseudo=PSEUDO,
            access="RO" if read_only else "RW",
        )
        (state / "ganesha.conf").write_text(config)
        command = ["ganesha.nfsd", "-F", "-f", f"{state}/ganesha.conf", "-L", f"{state}/log", "-p", f"{state}/pid"]
        if version == 3:
            command = [*_WITH_RPCBIND, _START, *command]
        server = spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True)
        undo.callback(_stop, server)
        wait_until_it_answers(server, (address, own), state / "log")
        public = undo.enter_context(relay({NFS: own, MOUNT: mount}, port or 0)) if version == 3 else own
        host = HOST_FROM_GUEST if address == LOOPBACK else address
        yield Share(folder=folder, url=f"nfs://{host}:{public}{PSEUDO}", port=public)


def wait_until_it_answers(server: "Process[bytes]", address: tuple[str, int], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace") if log.exists() else ""
                raise Failed(
                    f"cannot start the NFS server: {last_words(said)}",
                    hint="see that nfs-ganesha, nfs-ganesha-vfs and rpcbind are installed",
                ) from None
            time.sleep(0.1)


def last_words(log: str) -> str:
    """Return why nfs-ganesha ended, from its log: its last fatal error, after which a backtrace may stand."""
    lines = log.splitlines()
    fatal = [line for line in lines if ":FATAL :" in line][-1:]
    return "; ".join(fatal or lines[-3:]) or "it said nothing"


def _stop(server: "Process[bytes]") -> None:
    # Nothing is lost by a kill: what clients wrote is the kernel's by then. The group has unshare's child too.
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@contextmanager
def limited_folder(folder: Path, size: int) -> Iterator[Path]:
    """Make a folder that holds size bytes and no more, for a share that gets full; it is gone at the end.

    Raises Refused if the folder exists.
    """
    try:
        folder.mkdir()
    except FileExistsError:
        raise Refused(f"cannot make folder '{folder}': it exists", hint="name another one") from None
    with ExitStack() as undo:
        undo.callback(folder.rmdir)
        run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "lvpack-share", folder])
        undo.callback(run, ["umount", folder])
        yield folder
