"""DHCP by busybox's udhcpc, whose script puts a lease into effect, also when the lease is renewed later.

Tested in guests: qemu-tests/tests/test_network.py.
"""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lvpack_agent import places
from lvpack_agent.processes import DEVNULL, Process, run, spawn

# Made by network.up().
SCRIPT = "/etc/udhcpc/default.script"
# Asks every 3 s, without an end.
_PACE = ("-t", "3", "-T", "3", "-A", "3")
# Beyond what udhcpc asks for by itself: the MTU, and routes without classes (RFC 3442).
_ASKED = ("-O", "mtu", "-O", "staticroutes", "-O", "search")


class Client:
    """udhcpc on one interface; it stays, and renews the lease, until stop() is called."""

    def __init__(self, name: str, *, metric: int, keep_mtu: bool, peerdns: bool) -> None:
        self.name = name
        self._settings = {
            "LVPACK_METRIC": str(metric),
            "LVPACK_KEEP_MTU": "1" if keep_mtu else "0",
            "LVPACK_PEERDNS": "1" if peerdns else "0",
        }
        self._process = self._start()

    def _start(self) -> "Process[bytes]":
        (places.NETWORK / f"lease-{self.name}").unlink(missing_ok=True)
        command = [
            "udhcpc",
            "-i",
            self.name,
            "-f",
            "-p",
            f"{places.NETWORK / self.name}.pid",
            "-s",
            SCRIPT,
            *_PACE,
            *_ASKED,
        ]
        return spawn(command, stdout=DEVNULL, stderr=DEVNULL, new_session=True, env=self._settings)

    def address(self) -> str:
        """Return the address that was given, IP/PREFIX, or "". A client that ended, as when its link went, restarts."""
        if self._process.poll() is not None:
            self._process = self._start()
        with suppress(FileNotFoundError):
            return (places.NETWORK / f"lease-{self.name}").read_text().strip()
        return ""

    def stop(self) -> None:
        """End the client and take the address away."""
        _kill(self._process.pid)
        self._process.wait()
        run([SCRIPT, "deconfig"], env={**self._settings, "interface": self.name})


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)  # its script too: each client leads a session


def forget() -> None:
    """End the clients that an earlier agent left running, and forget the name servers that were in use."""
    for path in places.NETWORK.glob("*.pid"):
        with suppress(OSError, ValueError):
            pid = int(path.read_text())
            if b"udhcpc" in Path(f"/proc/{pid}/cmdline").read_bytes():
                _kill(pid)
    for path in places.NETWORK.iterdir():
        path.unlink()


def use_nameservers(servers: Sequence[str]) -> None:
    """Let these name servers come before those of leases."""
    (places.NETWORK / "dns-000").write_text("".join(f"nameserver {server}\n" for server in servers))
    run([SCRIPT, "nameservers"])
