"""A real SMB server (samba), for tests: SMB 3, signing required, one user."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import DEVNULL, Process, run, spawn
from lvpack_builder.lab import nfs
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, Share
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK

# An account of every Debian; what it writes belongs to root.
USER, PASSWORD, NAME = "backup", "open, Sesame; it's 100 % secret", "vault"

_CONFIG = """
[global]
server role = standalone server
bind interfaces only = yes
interfaces = {address}
smb ports = {port}
server min protocol = SMB3
server signing = mandatory
map to guest = never
disable netbios = yes
load printers = no
disable spoolss = yes
passdb backend = tdbsam:{state}/passdb.tdb
private dir = {state}
state directory = {state}
cache directory = {state}
lock directory = {state}
pid directory = {state}
ncalrpc dir = {state}/ncalrpc
log file = {state}/log
max log size = 0
[{name}]
path = {folder}
read only = no
force user = root
strict sync = yes
"""


@dataclass(slots=True)
class Server:
    """A samba that serves a folder; it can be frozen, ended and started again, on the same port."""

    share: Share
    state: Path
    process: "Process[bytes] | None" = None

    def start(self) -> None:
        command = ["smbd", "--foreground", "--no-process-group", f"--configfile={self.state}/smb.conf"]
        self.process = spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True)
        nfs.wait_until_it_answers(self.process, (LOOPBACK, self.share.port), self.state / "log")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all that it has started, one process for each connection."""
        assert self.process
        run(["pkill", f"-{number.value}", "--session", str(self.process.pid)], ok=(0, 1))

    def kill(self) -> None:
        assert self.process
        self.signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def smb_server(folder: Path, *, read_only: bool = False) -> Iterator[Server]:
    """Serve a folder as NAME to USER with PASSWORD, in a network of its own as nfs_share() does."""
    with ExitStack() as undo:
        undo.enter_context(private_network())
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-smb-")))
        port = nfs.free_port(LOOPBACK)
        config = _CONFIG.format(address=LOOPBACK, port=port, state=state, folder=folder.resolve(), name=NAME)
        (state / "smb.conf").write_text(config.replace("read only = no", "read only = yes") if read_only else config)
        (state / "ncalrpc").mkdir()
        run(["smbpasswd", "-c", f"{state}/smb.conf", "-a", "-s", USER], input=f"{PASSWORD}\n{PASSWORD}\n")
        url = f"smb://{HOST_FROM_GUEST}:{port}/{NAME}"
        server = Server(Share(folder=folder, url=url, port=port), state)
        server.start()
        undo.callback(server.kill)
        yield server
