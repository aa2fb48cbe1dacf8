"""The network: brought up as the kernel command line asks, within a deadline, with a countdown that people see.

A process has one network: main says by ask() what is wanted, and whoever needs a share calls up().
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lvpack_agent import dhcp, netdevices, nics
from lvpack_agent.errors import Failed
from lvpack_agent.ipoption import Setup
from lvpack_agent.netline import Line
from lvpack_agent.netoptions import NetOptions
from lvpack_agent.nics import Nic
from lvpack_agent.processes import run

LINK_SECONDS = 90.0
# A link that comes late leaves this much for the address.
ANSWER_SECONDS = 15.0
# Shorter than the silence after which a run speaks for itself (report.SILENCE_SECONDS).
COUNTDOWN_SECONDS = 2.5
POLL_SECONDS = 0.25
FIRST_METRIC = 100
# Holds the options that an agent, maybe an earlier one, brought the network up with.
MARK = dhcp.STATE / "up"


@dataclass(slots=True)
class _Asked:
    options: NetOptions


_asked = _Asked(NetOptions())


def ask(options: NetOptions) -> None:
    """Say what up() has to do."""
    _asked.options = options


def up(say: Callable[[str], None]) -> None:
    """Configure the network; nothing happens if that was done already. Raises Failed if no address comes in time."""
    if any(not setup.interface and setup.method == "none" for setup in _asked.options.setups):
        say("network: left as it is, by ip=off")
        return
    wanted = repr(_asked.options)
    if MARK.exists() and MARK.read_text() == wanted:
        return
    if dhcp.STATE.exists():
        _clear()
    dhcp.STATE.mkdir(parents=True, exist_ok=True)
    attempt = _Attempt(_asked.options, say)
    try:
        attempt.bring_up()
    except BaseException:
        attempt.stop()
        raise
    MARK.write_text(wanted)


def _clear() -> None:
    """Take away what an earlier agent set up by other options; addresses by a router's advertisement stay."""
    MARK.unlink(missing_ok=True)
    dhcp.forget()
    run(["ip", "-4", "address", "flush", "scope", "global"])
    run(["ip", "-6", "address", "flush", "scope", "global", "permanent"])


class _Attempt:
    """One way from options to addresses."""

    def __init__(self, options: NetOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._started = time.monotonic()
        self._link_until = self._started + (options.link_seconds or LINK_SECONDS)
        self._nics: tuple[Nic, ...] = ()
        self._lines: dict[tuple[str, int], Line] = {}
        self._made = [device.name for device in options.devices]
        setups = options.setups or (Setup(word="ip=dhcp"),)
        # Where no interface is named all are tried, and the first that gets an address wins.
        self._any = None if setups[0].interface else setups[0]

    def bring_up(self) -> None:
        self._find_named()
        for bond in self._options.bonds:
            netdevices.make_bond(bond, self._name)
        for vlan in self._options.vlans:
            netdevices.make_vlan(vlan, self._name(vlan.parent))
        for setup in () if self._any else self._in_order():
            self._add(self._name(setup.interface), setup)
        self._wait(self._go_on, lambda: self._missing("a"), self._until)
        self._judge()
        self._set_routes()

    def stop(self) -> None:
        for line in self._lines.values():
            line.stop()

    # What is named must be there.

    def _find_named(self) -> None:
        wanted = {name: word for name, word in self._references() if name not in self._made}
        absent = list(wanted)

        def all_there() -> bool:
            self._nics = nics.read()
            absent[:] = [name for name in wanted if self._find(name) is None]
            return not absent

        if not self._wait(all_there, lambda: f"NIC {', '.join(absent)}", lambda: self._link_until):
            raise Failed(
                f"cannot reach the share: NIC '{absent[0]}' of option '{wanted[absent[0]]}' is not there "
                f"{self._after()}",
                hint=f"{nics.describe(self._nics)}; a MAC address names one for sure, and net.ifnames=0 keeps names "
                "such as eth0",
            )

    def _references(self) -> Iterable[tuple[str, str]]:
        """Give what the options call interfaces, with the option that does."""
        options = self._options
        for bond in options.bonds:
            yield from ((member, bond.word) for member in bond.members)
        yield from ((vlan.parent, vlan.word) for vlan in options.vlans)
        yield from ((setup.interface, setup.word) for setup in options.setups if setup.interface)
        yield from ((route.interface, route.word) for route in options.routes if route.interface)
        if options.bootdev:
            yield options.bootdev, f"bootdev={options.bootdev}"
        elif options.bootif and self._any and not self._made:
            yield options.bootif, f"BOOTIF={options.bootif}"

    def _find(self, reference: str) -> Nic | None:
        called = next((alias.mac for alias in self._options.aliases if alias.name == reference), reference)
        return next((nic for nic in self._nics if nic.is_called(called)), None)

    def _name(self, reference: str) -> str:
        nic = None if reference in self._made else self._find(reference)
        return nic.name if nic else reference

    def _in_order(self) -> list[Setup]:
        """Return the setups, that of the first interface first: its default route wins."""
        first = self._first()
        return sorted(self._options.setups, key=lambda setup: self._name(setup.interface) not in first)

    def _first(self) -> set[str]:
        """Return what bootdev= or else BOOTIF= names, and the bonds and VLANs on it."""
        reference = self._options.bootdev or self._options.bootif
        names = {self._name(reference)} if reference else set()
        for bond in self._options.bonds:
            if names & {self._name(member) for member in bond.members}:
                names.add(bond.name)
        for vlan in self._options.vlans:
            if self._name(vlan.parent) in names:
                names.add(vlan.name)
        return names

    # Each line goes its way.

    def _add(self, name: str, setup: Setup) -> None:
        metric = FIRST_METRIC + len(self._lines)
        line = Line(name=name, setup=setup, metric=metric, peerdns=self._options.peerdns)
        self._lines[name, setup.family] = line
        line.switch_on()

    def _go_on(self) -> bool:
        """Let each line take its next step; return whether no more of them is needed."""
        self._nics = nics.read()
        if self._any:
            for name in self._candidates():
                if (name, self._any.family) not in self._lines:
                    self._add(name, self._any)
        linked = {nic.name for nic in self._nics if nic.link}
        for line in self._pending():
            line.go_on(line.name in linked)
            if line.address:
                self._say(f"network: {line.name} has {line.address}{' by DHCP' if line.client else ''}")
                if self._any:
                    return True
        return bool(self._lines) and not self._pending()

    def _pending(self) -> list[Line]:
        return [line for line in self._lines.values() if line.pending]

    def _candidates(self) -> list[str]:
        """Return the interfaces that an `ip=` without a name means. Who asks for bonds and VLANs means to use them."""
        below = {self._name(vlan.parent) for vlan in self._options.vlans}
        names = [name for name in self._made if name not in below]
        names = names or [nic.name for nic in self._nics if nic.driver and nic.ethernet and not nic.master]
        first = self._first()
        return [name for name in names if name in first] or names

    # Time, and what did not come in it.

    def _wait(self, done: Callable[[], bool], waiting: Callable[[], str], until: Callable[[], float]) -> bool:
        """Wait, and count down; return whether it was done in time."""
        said = time.monotonic()
        while not done():
            now = time.monotonic()
            if now >= until():
                return False
            if now - said >= COUNTDOWN_SECONDS:
                said = now
                self._say(f"network: waiting for {waiting()}: {until() - now:.0f} s left")
            time.sleep(POLL_SECONDS)
        return True

    def _until(self) -> float:
        return max(map(self._until_of, self._pending()), default=self._link_until)

    def _until_of(self, line: Line) -> float:
        if line.linked is None:
            return self._link_until
        if self._options.answer_seconds:
            return line.linked + self._options.answer_seconds
        return max(self._started + LINK_SECONDS, line.linked + ANSWER_SECONDS)

    def _after(self) -> str:
        return f"after {time.monotonic() - self._started:.0f} s"

    def _missing(self, article: str) -> str:
        """Return what is not there yet, e.g. "a link on ens2, ens3 and a DHCP answer on ens4"."""
        names: dict[str, list[str]] = {}
        for line in self._pending():
            names.setdefault(line.missing(), []).append(line.name)
        things = [f"{article} {what} on {', '.join(on)}" for what, on in names.items()]
        return " and ".join(things) or f"{article} NIC"

    def _judge(self) -> None:
        """Settle for what there is, or raise Failed."""
        missing = f"{self._missing('no')} {self._after()}"
        pending = self._pending()
        if self._lines and (not pending or any(line.address for line in self._lines.values())):
            if self._any:
                for line in pending:
                    line.stop()
            elif pending:
                self._say(f"network: warning: {missing}")
            return
        if not self._lines:
            raise Failed(
                f"cannot reach the share: this machine has no NIC that the kernel knows {self._after()}",
                hint="look in dmesg for its driver, or for firmware that it misses",
            )
        raise Failed(
            f"cannot reach the share: {missing}",
            hint=f"check cable, switch port and DHCP server, or give an address by ip=; {nics.describe(self._nics)}",
        )

    def _set_routes(self) -> None:
        """Set the routes and name servers that are given by hand."""
        for route in self._options.routes:
            via = ["via", route.gateway] if route.gateway else []
            device = ["dev", self._name(route.interface)] if route.interface else []
            try:
                run(["ip", f"-{6 if ':' in route.network else 4}", "route", "replace", route.network, *via, *device])
            except Failed as failed:
                raise Failed(
                    f"cannot use option '{route.word}': {failed.message}",
                    hint="its gateway must be in the network of an interface that has an address",
                ) from None
        servers = [*self._options.nameservers, *(s for setup in self._options.setups for s in setup.dns)]
        if servers:
            dhcp.use_nameservers(servers)
