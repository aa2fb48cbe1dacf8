"""Which interfaces of a machine the command line means: names, MAC addresses, BOOTIF, or any of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from lvpack_agent.network.ipoption import Setup
from lvpack_agent.network.nics import Nic
from lvpack_agent.network.values import NetOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """The options, and the interfaces that are there now."""

    options: NetOptions
    nics: tuple[Nic, ...]

    @property
    def anywhere(self) -> Setup | None:
        """The setup that names no interface, so that all are tried and the first that gets an address wins."""
        if not self.options.setups:
            return Setup(word="ip=dhcp")
        return None if self.options.setups[0].interface else self.options.setups[0]

    def name(self, reference: str) -> str:
        """Return the kernel's name of the NIC that the options call reference; reference itself if there is none."""
        nic = None if reference in self._made() else self._find(reference)
        return nic.name if nic else reference

    def absent(self) -> list[tuple[str, str]]:
        """Return (name, option) of each interface that an option names and that neither exists nor is made by one."""
        return [(name, word) for name, word in self._named() if name not in self._made() and not self._find(name)]

    def in_order(self) -> list[Setup]:
        """Return the setups with interfaces, that of bootdev= or BOOTIF= first: its default route wins."""
        named, first = [s for s in self.options.setups if s.interface], self._first()
        return sorted(named, key=lambda setup: self.name(setup.interface) not in first)

    def candidates(self) -> list[str]:
        """Return the interfaces that an `ip=` without a name means: bonds and VLANs if there are any, else the NICs."""
        below = {self.name(vlan.parent) for vlan in self.options.vlans}
        names = [name for name in self._made() if name not in below]
        names = names or [nic.name for nic in self.nics if nic.driver and nic.ethernet and not nic.master]
        first = self._first()
        return [name for name in names if name in first] or names

    def _made(self) -> list[str]:
        return [device.name for device in self.options.devices]

    def _find(self, reference: str) -> Nic | None:
        called = next((alias.mac for alias in self.options.aliases if alias.name == reference), reference)
        return next((nic for nic in self.nics if nic.is_called(called)), None)

    def _named(self) -> Iterator[tuple[str, str]]:
        options = self.options
        for bond in options.bonds:
            yield from ((member, bond.word) for member in bond.members)
        yield from ((vlan.parent, vlan.word) for vlan in options.vlans)
        yield from ((setup.interface, setup.word) for setup in options.setups if setup.interface)
        yield from ((route.interface, route.word) for route in options.routes if route.interface)
        if options.bootdev:
            yield options.bootdev, f"bootdev={options.bootdev}"
        elif options.bootif and self.anywhere and not options.devices:
            yield options.bootif, f"BOOTIF={options.bootif}"

    def _first(self) -> set[str]:
        """Return what bootdev= or else BOOTIF= names, and the bonds and VLANs on it."""
        reference = self.options.bootdev or self.options.bootif
        names = {self.name(reference)} if reference else set()
        for bond in self.options.bonds:
            if names & {self.name(member) for member in bond.members}:
                names.add(bond.name)
        for vlan in self.options.vlans:
            if self.name(vlan.parent) in names:
                names.add(vlan.name)
        return names
