"""The interfaces that the kernel knows, as `ip -json link` shows them, with their drivers from sysfs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import understood
from lvpack_agent.jsonform import checked
from lvpack_agent.processes import run

INTERFACES = Path("/sys/class/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """An interface. mac is the address that its hardware has; driver is "" if there is no hardware behind it."""

    name: str
    alternatives: tuple[str, ...]
    mac: str
    driver: str
    ethernet: bool
    link: bool
    master: str

    def is_called(self, reference: str) -> bool:
        """Whether a name or a MAC address means this one; a MAC address means hardware only."""
        return reference in (self.name, *self.alternatives) or (bool(self.driver) and reference == self.mac)

    def describe(self) -> str:
        """Return name, MAC address, driver and link in words."""
        return f"{self.name} ({self.mac}, {self.driver or 'no hardware'}, {'link' if self.link else 'no link'})"


@understood("the answer of ip")
def parse(text: str, drivers: Mapping[str, str]) -> tuple[Nic, ...]:
    """Read the output of `ip -json link`; drivers are those of the interfaces with hardware, by name.

    Raises Failed if it is not as ip(8) answers.
    """
    found = (
        Nic(
            name=link["ifname"],
            alternatives=tuple(link.get("altnames", ())),
            # permaddr is shown when another address was set, as a bond does.
            mac=link.get("permaddr", link.get("address", "")),
            driver=drivers.get(link["ifname"], ""),
            ethernet=link["link_type"] == "ether",
            link="LOWER_UP" in link["flags"],
            master=link.get("master", ""),
        )
        for link in json.loads(text)
    )
    return tuple(map(checked, found))


def read() -> tuple[Nic, ...]:
    """Return the interfaces of this machine, in the kernel's order."""
    text = run(["ip", "-json", "link"]).stdout
    drivers = {
        path.name: (path / "device/driver").resolve().name
        for path in INTERFACES.iterdir()
        if (path / "device/driver").exists()
    }
    return parse(text, drivers)


def describe(nics: Sequence[Nic]) -> str:
    """Return the interfaces with hardware behind them, for a message."""
    return "the NICs are " + (", ".join(nic.describe() for nic in nics if nic.driver) or "none")
