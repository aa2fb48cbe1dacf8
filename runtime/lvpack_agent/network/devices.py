"""Bonds and VLANs, made from their options.

Tested in guests: qemu-tests/tests/test_network.py makes bonds and VLANs.
"""

from collections.abc import Callable
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.network.nics import INTERFACES
from lvpack_agent.network.values import Bond, Vlan
from lvpack_agent.processes import run


def make_bond(bond: Bond, name_of: Callable[[str], str]) -> None:
    """Make a bond; name_of gives the names of its NICs. Raises Failed if the kernel does not take an option."""
    # The module makes a bond0 of its own if it is not told otherwise.
    run(["modprobe", "bonding", "max_bonds=0"])
    _remove(bond.name)
    run(["ip", "link", "add", "name", bond.name, "type", "bond"])
    for key, value in bond.options:
        if key == "primary":
            value = name_of(value)
        for one in value.split(";") if key == "arp_ip_target" else [value]:
            _write(INTERFACES / bond.name / "bonding" / key, f"+{one}" if key == "arp_ip_target" else one, bond)
    for member in map(name_of, bond.members):
        # The kernel takes a NIC into a bond only while it is down.
        run(["ip", "link", "set", "dev", member, "down"])
        run(["ip", "link", "set", "dev", member, "master", bond.name])
        run(["ip", "link", "set", "dev", member, "up"])
    if bond.mtu:
        run(["ip", "link", "set", "dev", bond.name, "mtu", str(bond.mtu)])
    run(["ip", "link", "set", "dev", bond.name, "up"])


def make_vlan(vlan: Vlan, parent: str) -> None:
    """Make a VLAN on the interface of that name."""
    run(["modprobe", "8021q"])
    _remove(vlan.name)
    run(["ip", "link", "set", "dev", parent, "up"])
    run(["ip", "link", "add", "link", parent, "name", vlan.name, "type", "vlan", "id", str(vlan.id)])
    run(["ip", "link", "set", "dev", vlan.name, "up"])


def _remove(name: str) -> None:
    """Remove a device that an earlier run of the agent made."""
    if (INTERFACES / name).exists() and not (INTERFACES / name / "device").exists():
        run(["ip", "link", "delete", "dev", name])


def _write(path: Path, value: str, bond: Bond) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise Failed(
            f"cannot use option '{bond.word}': the kernel does not take {path.name}={value}: {error.strerror}",
            hint="dmesg says why; not every option goes with every mode",
        ) from error
