"""The network: brought up as the kernel command line asks, within a deadline, with a countdown that people see.

It is brought up only when a share is needed.

Tested in guests: qemu-tests/tests/test_network.py.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.network import dhcp, nics
from lvpack_agent.network.choice import Choice
from lvpack_agent.network.devices import make_bond, make_vlan
from lvpack_agent.network.ipoption import Setup
from lvpack_agent.network.line import Line
from lvpack_agent.network.values import NetOptions
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo

LINK_SECONDS = 90.0
# A link that comes late leaves this much for the address.
ANSWER_SECONDS = 15.0
# Shorter than the silence after which a run speaks for itself (report.SILENCE_SECONDS).
COUNTDOWN_SECONDS = 2.5
POLL_SECONDS = 0.25
FIRST_METRIC = 100
# The file with the options that an agent, maybe an earlier one, brought the network up with.
MARK = "up"


@dataclass(frozen=True, slots=True)
class Network:
    """The network that the kernel command line asks for."""

    options: NetOptions

    def up(self, say: Callable[[str], None]) -> None:
        """Configure the network; nothing happens if that was done already.

        Raises Failed if no address comes in time.
        """
        if any(not setup.interface and setup.method == "none" for setup in self.options.setups):
            say("network: left as it is, by ip=off")
            return
        mark, wanted = places.NETWORK / MARK, repr(self.options)
        if mark.exists() and mark.read_text() == wanted:
            return
        if places.NETWORK.exists():
            _clear()
        places.NETWORK.mkdir(parents=True, exist_ok=True)
        attempt = _Attempt(self.options, say)
        with Undo() as undo:
            undo.callback(attempt.stop)
            attempt.bring_up()
            undo.pop_all()
        mark.write_text(wanted)


def has_failed() -> bool:
    """Return whether an agent, maybe an earlier one, has tried to bring the network up, and no address came."""
    return places.NETWORK.exists() and not (places.NETWORK / MARK).exists()


def _clear() -> None:
    """Take away what an earlier agent set up by other options; addresses by a router's advertisement stay."""
    (places.NETWORK / MARK).unlink(missing_ok=True)
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
        self._choice = Choice(options, ())
        self._anywhere = self._choice.anywhere
        self._lines: dict[tuple[str, int], Line] = {}

    def bring_up(self) -> None:
        self._find_named()
        for bond in self._options.bonds:
            make_bond(bond, self._choice.name)
        for vlan in self._options.vlans:
            make_vlan(vlan, self._choice.name(vlan.parent))
        for setup in self._choice.in_order():
            self._add(self._choice.name(setup.interface), setup)
        self._wait(self._go_on, lambda: self._missing("a"), self._until)
        self._judge()
        self._set_routes()

    def stop(self) -> None:
        for line in self._lines.values():
            line.stop()

    def _look(self) -> None:
        self._choice = Choice(self._options, nics.read())

    def _find_named(self) -> None:
        def all_there() -> bool:
            self._look()
            return not self._choice.absent()

        def which() -> str:
            return "NIC " + ", ".join(name for name, _ in self._choice.absent())

        if not self._wait(all_there, which, lambda: self._link_until):
            name, word = self._choice.absent()[0]
            raise Failed(
                f"cannot reach the share: NIC '{name}' of option '{word}' is not there {self._after()}",
                hint=f"{nics.describe(self._choice.nics)}; a MAC address names one for sure, and net.ifnames=0 keeps "
                "names such as eth0",
            )

    def _add(self, name: str, setup: Setup) -> None:
        metric = FIRST_METRIC + len(self._lines)
        line = Line(name=name, setup=setup, metric=metric, peerdns=self._options.peerdns)
        self._lines[name, setup.family] = line
        line.switch_on()

    def _go_on(self) -> bool:
        """Let each line take its next step; return whether no more of them is needed."""
        self._look()
        if self._anywhere:
            for name in self._choice.candidates():
                if (name, self._anywhere.family) not in self._lines:
                    self._add(name, self._anywhere)
        linked = {nic.name for nic in self._choice.nics if nic.link}
        for line in self._pending():
            line.go_on(line.name in linked)
            if line.address:
                self._say(f"network: {line.name} has {line.address}{' by DHCP' if line.client else ''}")
                if self._anywhere:
                    return True
        return bool(self._lines) and not self._pending()

    def _pending(self) -> list[Line]:
        return [line for line in self._lines.values() if line.pending]

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
            if self._anywhere:
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
            hint="check cable, switch port and DHCP server, or give an address by ip=; "
            f"{nics.describe(self._choice.nics)}",
        )

    def _set_routes(self) -> None:
        """Set the routes and name servers that are given by hand."""
        for route in self._options.routes:
            via = ["via", route.gateway] if route.gateway else []
            device = ["dev", self._choice.name(route.interface)] if route.interface else []
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
