"""The network's options on the kernel command line: `ip=`, `BOOTIF=`, `vlan=`, `bond=` and their kin.

They have the meaning of dracut.cmdline(7). Reading them is arithmetic on text; what the machine has, nobody asks here.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lvpack_agent.errors import Refused
from lvpack_agent.network import ipoption
from lvpack_agent.network.bond import read_bond
from lvpack_agent.network.ipoption import interface, ip, mac, split
from lvpack_agent.network.values import Alias, NetOptions, Route, Vlan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """How an option is written, and its reader, which gets the whole word and the part after the `=`."""

    takes: str
    read: Callable[[str, str], Any]


def _bootif(_: str, text: str) -> str:
    # PXELINUX puts the ARP hardware type before the address, 01 for Ethernet (RFC 1700).
    typed = re.fullmatch(r"([0-9A-Fa-f]{2})[:-](.{17})", text)
    if typed and typed[1] != "01":
        raise ValueError("it is not an Ethernet address")
    return mac(typed[2] if typed else text)


def _alias(_: str, text: str) -> Alias:
    name, _, address = text.partition(":")
    return Alias(name=interface(name), mac=mac(address))


def _vlan(word: str, text: str) -> Vlan:
    name, colon, parent = text.partition(":")
    numbered = re.fullmatch(r"(?:vlan|.+\.)(\d+)", interface(name, ipoption.NAME_LENGTH))
    if not numbered or not 1 <= int(numbered[1]) <= 4094:
        raise ValueError(f"'{name}' does not end in the id of a VLAN, 1 to 4094")
    if not colon:
        raise ValueError("it names no interface")
    return Vlan(word=word, name=name, id=int(numbered[1]), parent=interface(parent))


def _route(word: str, text: str) -> Route:
    to, gateway, name, *more = [*split(text), "", ""]
    if any(more):
        raise ValueError("it has too many fields")
    try:
        network = ipaddress.ip_network(to.replace("[", "").replace("]", ""))
    except ValueError:
        raise ValueError(f"'{to}' is not a network such as 192.168.7.0/24") from None
    if not gateway and not name:
        raise ValueError("it has neither a gateway nor an interface")
    if gateway and (":" in ip(gateway)) != (network.version == 6):
        raise ValueError(f"{network} and {ip(gateway)} are of different versions of IP")
    return Route(
        word=word,
        network=str(network),
        gateway=ip(gateway) if gateway else "",
        interface=interface(name) if name else "",
    )


def _yes_no(_: str, text: str) -> bool:
    if text not in ("1", "yes", "on", "0", "no", "off"):
        raise ValueError("it is neither 1 nor 0")
    return text in ("1", "yes", "on")


def _number(_: str, text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise ValueError("it is not a whole number above 0")
    return int(text)


def _unsupported(_: str, text: str) -> None:
    raise ValueError("this version of lvpack does not support it")


_OPTIONS = {
    "ip": _Option(
        takes="{dhcp|on|any|auto6|off}, INTERFACE:{dhcp|auto6|none}[:[MTU][:MAC]] or "
        "CLIENT:[PEER]:[GATEWAY]:NETMASK:[HOSTNAME]:[INTERFACE]:none[:[MTU][:MAC] or :[DNS1][:DNS2]]",
        read=lambda word, _: ipoption.read(word),
    ),
    "BOOTIF": _Option(takes="a MAC address, with 01- before it or not", read=_bootif),
    "bootdev": _Option(takes="INTERFACE", read=lambda _, text: interface(text)),
    "ifname": _Option(takes="NAME:MAC", read=_alias),
    "vlan": _Option(takes="NAME:INTERFACE, NAME being vlanID or INTERFACE.ID", read=_vlan),
    "bond": _Option(takes="NAME:INTERFACE[,INTERFACE …][:OPTION=VALUE[,…][:MTU]]", read=read_bond),
    "nameserver": _Option(takes="an IP address", read=lambda _, text: ip(text)),
    "rd.route": _Option(takes="NETWORK/PREFIX:[GATEWAY][:INTERFACE]", read=_route),
    "rd.peerdns": _Option(takes="1 or 0", read=_yes_no),
    "rd.bootif": _Option(takes="1 or 0", read=_yes_no),
    "rd.net.timeout.carrier": _Option(takes="seconds", read=_number),
    "rd.net.timeout.dhcp": _Option(takes="seconds", read=_number),
    "rd.net.dhcp.retry": _Option(takes="a number of times", read=_number),
    "team": _Option(takes="nothing here; bond= is supported", read=_unsupported),
    "bridge": _Option(takes="nothing here; name the NIC itself in ip=", read=_unsupported),
}
OPTIONS = tuple(_OPTIONS)


def network_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that are options of the network."""
    return tuple(word for word in words if word.partition("=")[0] in _OPTIONS)


def network_options(words: Iterable[str]) -> NetOptions:
    """Read the network's options among the words of a command line.

    Raises Refused that names the first malformed or unsupported one, or one that contradicts another.
    """
    read: dict[str, list[Any]] = {key: [] for key in _OPTIONS}
    for word in network_words(words):
        key, _, text = word.partition("=")
        try:
            read[key].append(_OPTIONS[key].read(word, text))
        except ValueError as error:
            raise _refused(word, str(error)) from None
    last = {key: values[-1] if values else None for key, values in read.items()}
    seconds = last["rd.net.timeout.dhcp"]
    options = NetOptions(
        setups=tuple(read["ip"]),
        vlans=tuple(read["vlan"]),
        bonds=tuple(read["bond"]),
        aliases=tuple(read["ifname"]),
        routes=tuple(read["rd.route"]),
        nameservers=tuple(read["nameserver"]),
        bootdev=last["bootdev"] or "",
        bootif=last["BOOTIF"] or "" if last["rd.bootif"] is not False else "",
        peerdns=last["rd.peerdns"] is not False,
        link_seconds=last["rd.net.timeout.carrier"],
        answer_seconds=seconds and seconds * (last["rd.net.dhcp.retry"] or 1),
    )
    _refuse_contradictions(options)
    return options


def _refuse_contradictions(options: NetOptions) -> None:
    made = [device.name for device in options.devices]
    parts: dict[str, str] = {}
    for bond in options.bonds:
        for member in bond.members:
            if member in parts or member in made:
                raise _refused(bond.word, f"'{member}' is part of {parts.get(member, 'another option')} already")
            parts[member] = bond.word
    for device in options.devices:
        if made.count(device.name) > 1:
            raise _refused(device.word, f"there is another '{device.name}'")
    for vlan in options.vlans:
        if vlan.parent in parts or vlan.parent in (v.name for v in options.vlans):
            raise _refused(vlan.word, f"'{vlan.parent}' is a VLAN, or part of a bond")
    seen: set[tuple[str, int]] = set()
    for setup in options.setups:
        if not setup.interface and len(options.setups) > 1:
            raise _refused(setup.word, "with several of them, each must name its interface")
        if setup.interface in parts:
            raise _refused(setup.word, f"'{setup.interface}' is part of {parts[setup.interface]}")
        if (setup.interface, setup.family) in seen:
            raise _refused(setup.word, f"another one sets '{setup.interface}' up")
        seen.add((setup.interface, setup.family))


def _refused(word: str, cause: str) -> Refused:
    key = word.partition("=")[0]
    return Refused(f"cannot use option '{word}': {cause}", hint=f"{key}= takes {_OPTIONS[key].takes}")
