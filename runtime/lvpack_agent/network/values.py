"""The network that a command line asks for, as values."""

from dataclasses import dataclass

from lvpack_agent.network.ipoption import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan:
    """A VLAN: the name of its device, its id, and what it is on."""

    word: str
    name: str
    id: int
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """A bond: the name of its device, its NICs, options in the order in which they are set, MTU (0: as it is)."""

    word: str
    name: str
    members: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route to a network, IP/PREFIX; by a gateway, an interface or both."""

    word: str
    network: str
    gateway: str
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name that `ifname=` gives to the NIC with a MAC address."""

    name: str
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions:
    """What the command line says about the network; "" and None where it says nothing.

    bootdev and bootif say which interface comes first. link_seconds and answer_seconds: how long a link, and from then
    on an address, is waited for.
    """

    setups: tuple[Setup, ...] = ()
    vlans: tuple[Vlan, ...] = ()
    bonds: tuple[Bond, ...] = ()
    aliases: tuple[Alias, ...] = ()
    routes: tuple[Route, ...] = ()
    nameservers: tuple[str, ...] = ()
    bootdev: str = ""
    bootif: str = ""
    peerdns: bool = True
    link_seconds: int | None = None
    answer_seconds: int | None = None

    @property
    def devices(self) -> tuple[Bond | Vlan, ...]:
        """What is made on top of NICs: bonds first, for VLANs may be on them."""
        return (*self.bonds, *self.vlans)
