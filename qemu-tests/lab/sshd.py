"""A real OpenSSH server, for tests: SFTP and nothing else, in a chroot, for one user with one key."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import DEVNULL, Process, run, spawn
from lvpack_builder.lab import nfs
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK

# An account of every Debian, without a shell.
USER = "backup"
# Each folder above a chroot must be root's alone (sshd_config(5), ChrootDirectory): /tmp is not.
ROOTS = Path("/run")

_CONFIG = """
ListenAddress {address}:{port}
HostKey {state}/host-key
PidFile none
AuthorizedKeysFile {state}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers {user}
AllowTcpForwarding no
Subsystem sftp internal-sftp
ChrootDirectory {state}/root
ForceCommand internal-sftp
"""


@dataclass(slots=True)
class Sshd:
    """A server whose folder /sets is folder here; it can be frozen, ended, and started again with another host key."""

    port: int
    state: Path
    process: "Process[bytes] | None" = None

    @property
    def folder(self) -> Path:
        return self.state / "root/sets"

    @property
    def key(self) -> bytes:
        return (self.state / "key").read_bytes()

    def known_hosts(self, host: str = LOOPBACK) -> bytes:
        words = (self.state / "host-key.pub").read_text().split()
        return f"[{host}]:{self.port} {words[0]} {words[1]}\n".encode()

    def new_host_key(self) -> None:
        for path in self.state.glob("host-key*"):
            path.unlink()
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.state / "host-key"])

    def start(self) -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = ["/usr/sbin/sshd", "-D", "-f", f"{self.state}/sshd_config", "-E", f"{self.state}/log"]
        self.process = spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True)
        nfs.wait_until_it_answers(self.process, (LOOPBACK, self.port), self.state / "log")

    def connections(self) -> list[str]:
        """Return the processes of all connections of this server; another one's are let be."""
        assert self.process
        found, parents = list[str](), [str(self.process.pid)]
        while parents := run(["pgrep", "-P", ",".join(parents)], ok=(0, 1)).stdout.split():
            found += parents
        return found

    def signal(self, number: signal.Signals, *, also_new: bool = False) -> None:
        """Send a signal to all connections; new ones can be made, unless that is to be what takes them as well."""
        assert self.process
        _signal([*self.connections(), *([str(self.process.pid)] if also_new else [])], number)

    def kill(self) -> None:
        """End the server and all connections."""
        assert self.process
        connections = self.connections()
        self.process.kill()
        self.process.wait()
        _signal(connections, signal.SIGKILL)


def _signal(pids: list[str], number: signal.Signals) -> None:
    for pid in pids:
        run(["kill", f"-{number.value}", pid], ok=(0, 1))


@contextmanager
def sshd() -> Iterator[Sshd]:
    """Serve an empty folder, in a network of its own as nfs_share() does."""
    with ExitStack() as undo:
        undo.enter_context(private_network())
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-sshd-", dir=ROOTS)))
        state.chmod(0o755)
        server = Sshd(nfs.free_port(LOOPBACK), state)
        server.folder.mkdir(parents=True)
        shutil.chown(server.folder, USER, USER)
        server.new_host_key()
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", state / "key"])
        (state / "authorized_keys").write_bytes((state / "key.pub").read_bytes())
        config = _CONFIG.format(address=LOOPBACK, port=server.port, state=state, user=USER)
        (state / "sshd_config").write_text(config)
        server.start()
        undo.callback(server.kill)
        yield server
