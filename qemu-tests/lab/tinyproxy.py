"""A real forward proxy, for tests: tinyproxy, which passes whatever it is asked for, if need be to one user only."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import DEVNULL, Process, spawn
from lvpack_builder.lab import nfs
from lvpack_builder.lab.private import private_network
from lvpack_builder.lab.relay import LOOPBACK

USER, PASSWORD = "through", "OpenSesame1"


@dataclass(slots=True)
class Tinyproxy:
    """A proxy, and what it writes down of what it has passed on."""

    port: int
    state: Path
    process: "Process[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def log(self) -> str:
        return (self.state / "log").read_text()

    def start(self) -> None:
        self.process = spawn(["tinyproxy", "-d", "-c", f"{self.state}/conf"], stdout=DEVNULL, stderr=DEVNULL)
        nfs.wait_until_it_answers(self.process, (LOOPBACK, self.port), self.state / "log")

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def tinyproxy(*, password: bool = False) -> Iterator[Tinyproxy]:
    """Run a proxy in the network of the servers; password: it lets nobody else through."""
    with ExitStack() as undo:
        undo.enter_context(private_network())
        state = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="lvpack-proxy-")))
        proxy = Tinyproxy(nfs.free_port(LOOPBACK), state)
        lines = [f"Port {proxy.port}", f"Listen {LOOPBACK}", "Timeout 600", f'LogFile "{state}/log"', "LogLevel Info"]
        lines += [f"BasicAuth {USER} {PASSWORD}"] if password else []
        (state / "conf").write_text("\n".join(lines) + "\n")
        (state / "log").touch()
        proxy.start()
        undo.callback(proxy.kill)
        yield proxy
