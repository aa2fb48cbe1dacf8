"""One interface on its way to an address: first a link, then what its `ip=` asks for."""

import ipaddress
import json
import time
from dataclasses import dataclass

from lvpack_agent.network.dhcp import Client
from lvpack_agent.network.ipoption import Setup
from lvpack_agent.processes import run

_THINGS = {"dhcp": "DHCP answer", "auto6": "router's advertisement"}


@dataclass(slots=True, kw_only=True)
class Line:
    """An interface and its setup. metric: that of its routes, the lowest wins. peerdns: use a lease's name servers.

    linked: since when it has a link, in seconds of the monotonic clock; address: IP/PREFIX, once it has one.
    """

    name: str
    setup: Setup
    metric: int
    peerdns: bool
    linked: float | None = None
    address: str = ""
    client: Client | None = None

    @property
    def pending(self) -> bool:
        """Whether an address is asked for and not there."""
        return not self.address and self.setup.method != "none"

    def missing(self) -> str:
        """Return what the line waits for, without an article."""
        return "link" if self.linked is None else _THINGS.get(self.setup.method, "address")

    def switch_on(self) -> None:
        """Set MAC address and MTU, and the interface up."""
        if self.setup.mac:
            run(["ip", "link", "set", "dev", self.name, "down"])
            run(["ip", "link", "set", "dev", self.name, "address", self.setup.mac])
        if self.setup.mtu:
            run(["ip", "link", "set", "dev", self.name, "mtu", str(self.setup.mtu)])
        run(["ip", "link", "set", "dev", self.name, "up"])

    def go_on(self, has_link: bool) -> None:
        """Take the next step: begin when there is a link, and see whether there is an address."""
        if self.linked is None and has_link:
            self.linked = time.monotonic()
            if self.setup.method == "dhcp":
                keep_mtu = bool(self.setup.mtu)
                self.client = Client(self.name, metric=self.metric, keep_mtu=keep_mtu, peerdns=self.peerdns)
            elif self.setup.method == "static":
                self._set_address()
        if self.client:
            self.address = self.client.address()
        elif self.linked is not None and self.setup.method == "auto6":
            self.address = router_address(run(["ip", "-json", "-6", "address", "show", "dev", self.name]).stdout)

    def _set_address(self) -> None:
        setup, ip, on = self.setup, ["ip", f"-{self.setup.family}"], ["dev", self.name]
        if setup.peer:
            run([*ip, "address", "replace", setup.address.partition("/")[0], "peer", setup.peer, *on])
        else:
            run([*ip, "address", "replace", setup.address, *on])
        if setup.gateway:
            # A gateway outside the netmask is on the link all the same, as where providers give out single addresses.
            inside = ipaddress.ip_address(setup.gateway) in ipaddress.ip_interface(setup.address).network
            route = ["default", "via", setup.gateway, *on, "metric", str(self.metric)]
            run([*ip, "route", "replace", *route, *([] if inside else ["onlink"])])
        self.address = setup.address

    def stop(self) -> None:
        """End the interface's DHCP client and take its address away."""
        if self.client:
            self.client.stop()
            self.client = None


def router_address(text: str) -> str:
    """Return the address that a router's advertisement led to, IP/PREFIX, from `ip -json -6 address`; "" for none."""
    for link in json.loads(text):
        for info in link.get("addr_info", ()):
            # tentative: the kernel still asks whether another machine has it (RFC 4862). site: fec0::/10.
            if info["scope"] in ("global", "site") and info.get("dynamic") and not info.get("tentative"):
                return f"{info['local']}/{info['prefixlen']}"
    return ""
