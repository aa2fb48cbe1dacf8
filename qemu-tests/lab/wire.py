"""A network of one cable: a namespace with a tap interface for guests, and servers that nobody else can reach."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run, spawn
from lvpack_builder.lab.private import private_network

# Those of the netboot kit's README.
INTERFACE, ADDRESS, FOLDER = "lvpack0", "192.0.2.1", "/srv/lvpack"
START_SECONDS = 30.0


@contextmanager
def wire() -> Iterator[None]:
    """Put this thread, and all that it starts, into a network namespace with loopback and the tap interface."""
    with private_network(fresh=True):
        run(["ip", "tuntap", "add", INTERFACE, "mode", "tap"])
        run(["ip", "address", "add", f"{ADDRESS}/24", "dev", INTERFACE])
        run(["ip", "link", "set", INTERFACE, "up"])
        yield


@contextmanager
def boot_server(kit: Path, log: Path, also: str = "") -> Iterator[None]:
    """Serve a netboot kit by dnsmasq, configured as its README says, to the letter, and also so; and by HTTP."""
    _, section = (kit / "README.md").read_text().split("\n## dnsmasq\n")
    [config] = re.findall(r"^```\n(.*?)^```$", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    configuration = log.with_suffix(".conf")
    configuration.write_text(config + also)
    # The folder that the README names, in a /srv that only the server sees.
    there = f'mount -t tmpfs tmpfs /srv && mkdir {FOLDER} && mount --bind "$1" {FOLDER} && shift && exec "$@"'
    command: list[str | Path] = ["unshare", "--mount", "sh", "-c", there, "sh", kit, "dnsmasq", "--keep-in-foreground"]
    command += ["--user=root", "--log-dhcp", "--log-facility=-", "--conf-file=" + str(configuration)]
    command += ["--dhcp-leasefile=" + str(log.with_suffix(".leases")), "--pid-file="]
    http = ["python3", "-m", "http.server", "--directory", str(kit), "--bind", ADDRESS, "80"]
    with ExitStack() as undo:
        file = undo.enter_context(log.open("ab"))
        for argv in (command, http):
            server = spawn(argv, stdout=file.fileno(), stderr=file.fileno())
            undo.callback(server.wait)
            undo.callback(server.terminate)
        _wait_for_http(log)
        yield


def _wait_for_http(log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((ADDRESS, 80), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Failed(f"cannot start the boot server: {log.read_text()[-300:]}") from None
            time.sleep(0.1)
