"""The network: DHCP on the first interface that answers."""

import time
from collections.abc import Callable
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run

INTERFACES = Path("/sys/class/net")
CARRIER_SECONDS = 30.0


def up(say: Callable[[str], None]) -> None:
    """Configure the network by DHCP. Raises Failed if there is no interface, no link or no answer."""
    names = sorted(p.name for p in INTERFACES.iterdir() if (p / "device").exists())
    if not names:
        raise Failed(
            "cannot reach the share: this machine has no network interface that the kernel knows",
            hint="look for its driver in dmesg",
        )
    for name in names:
        run(["ip", "link", "set", name, "up"])
    deadline = time.monotonic() + CARRIER_SECONDS
    while not (linked := [n for n in names if _has_carrier(n)]):
        if time.monotonic() > deadline:
            raise Failed(
                f"cannot reach the share: no link on {', '.join(names)} after {CARRIER_SECONDS:.0f} s",
                hint="check the cable and the switch port",
            )
        time.sleep(0.2)
    for name in linked:
        # -n -q: get one lease, then end; three tries of three seconds (busybox udhcpc).
        answer = run(["udhcpc", "-i", name, "-n", "-q", "-f", "-t", "3", "-T", "3"], ok=range(256))
        if answer.status == 0:
            say(f"network: {name} has {_address(name)}")
            return
    raise Failed(f"cannot reach the share: no DHCP answer on {', '.join(linked)}", hint="check the DHCP server")


def _has_carrier(name: str) -> bool:
    try:
        return (INTERFACES / name / "carrier").read_text().strip() == "1"
    except OSError:
        return False  # EINVAL while the interface is down


def _address(name: str) -> str:
    words = run(["ip", "-oneline", "-4", "address", "show", "dev", name]).stdout.split()
    return words[words.index("inet") + 1] if "inet" in words else "no address"
