"""The kernel command-line option `ip=`, in the forms of dracut.cmdline(7) and of the kernel.

`ip=METHOD`, `ip=INTERFACE:METHOD[:[MTU][:MAC]]` and
`ip=CLIENT:[PEER]:[GATEWAY]:NETMASK:[HOSTNAME]:[INTERFACE][:METHOD[:[MTU][:MAC]]]`, the last one also with
`[:[DNS1][:[DNS2]]]` at its end; the kernel's own form (Documentation/admin-guide/nfs/nfsroot.rst) is that one. IPv6
addresses stand in brackets. Readers raise ValueError that says what is wrong.
"""

import ipaddress
import re
from dataclasses import dataclass

# single-dhcp of dracut, all NICs at once and the first answer wins, is what dhcp does here.
_METHODS = {"dhcp": "dhcp", "on": "dhcp", "any": "dhcp", "single-dhcp": "dhcp", "": "dhcp"}
_METHODS |= {"auto6": "auto6", "none": "none", "off": "none"}
_UNSUPPORTED = ("dhcp4", "dhcp6", "either6", "link6", "link-local", "ibft", "bootp", "rarp", "both")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}")
# IFNAMSIZ and ALTIFNAMSIZ of the kernel (include/uapi/linux/if.h), without the byte that ends a name.
NAME_LENGTH = 15
ALTERNATIVE_LENGTH = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one `ip=` asks for.

    word: the option as it was given. interface: a name, a MAC address, or "" for any NIC. method: dhcp, auto6, static
    or none. address: IP/PREFIX. mtu is in bytes, 0 leaves it as it is; mac is set on the interface if it is given.
    """

    word: str
    interface: str = ""
    method: str = "dhcp"
    address: str = ""
    peer: str = ""
    gateway: str = ""
    mtu: int = 0
    mac: str = ""
    dns: tuple[str, ...] = ()

    @property
    def family(self) -> int:
        """The version of IP, 4 or 6."""
        return 6 if self.method == "auto6" or ":" in self.address else 4


def read(word: str) -> Setup:
    """Read an `ip=` option."""
    fields = split(word.removeprefix("ip="))
    if len(fields) == 1 and not re.match(r"[\d\[]", fields[0]):
        return Setup(word=word, method=_method(fields[0] or "nothing"))
    if not fields[0] or re.match(r"\[|\d+\.", fields[0]):
        return _read_long(word, fields)
    name, (method, *tail) = _interface_first(fields)
    mtu, hardware, dns = _read_tail(tail)
    if dns:
        raise ValueError(f"'{tail[0] or tail[1]}' is not an MTU; use nameserver= for a name server")
    return Setup(word=word, interface=name, method=_method(method), mtu=mtu, mac=hardware)


def _read_long(word: str, fields: list[str]) -> Setup:
    client, peer, gateway, netmask, _hostname = (fields + [""] * 5)[:5]
    name, (asked, *tail) = _interface_first(fields[5:] or [""])
    mtu, hardware, dns = _read_tail(tail)
    if hardware and not name:
        raise ValueError("a MAC address can only be set on an interface that is named")
    if not client:
        return Setup(word=word, interface=name, method=_method(asked), mtu=mtu, mac=hardware, dns=dns)
    if asked and _method(asked) != "none":
        raise ValueError(f"it has an address and '{asked}', which asks for another one")
    address = _with_prefix(ip(client), netmask)
    if gateway and (":" in ip(gateway)) != (":" in ip(client)):
        raise ValueError(f"{ip(client)} and {ip(gateway)} are of different versions of IP")
    return Setup(
        word=word,
        interface=name,
        method="static",
        address=str(address),
        # To the kernel this field is the boot server's address, and PXELINUX fills it so. A peer, as in dracut, is at
        # the other end of a line without a network: the netmask leaves room for one address.
        peer=ip(peer.partition("/")[0]) if peer and address.network.num_addresses == 1 else "",
        gateway=ip(gateway) if gateway else "",
        mtu=mtu,
        mac=hardware,
        dns=dns,
    )


def _interface_first(fields: list[str]) -> tuple[str, list[str]]:
    """Take an interface, which may be six fields of a MAC address, off the fields; at least one is left."""
    count = 6 if _MAC.fullmatch(":".join(fields[:6])) else 1
    name = ":".join(fields[:count])
    return interface(name) if name else "", fields[count:] or [""]


def _read_tail(fields: list[str]) -> tuple[int, str, tuple[str, ...]]:
    """Read what follows the method: MTU and MAC address, or two name servers, and the kernel's time server."""
    if not any(fields):
        return 0, "", ()
    first, *rest = fields
    if first.isdecimal() or (not first and _MAC.fullmatch(":".join(rest))):
        return mtu(first), mac(":".join(rest)) if any(rest) else "", ()
    if len(fields) > 3:
        raise ValueError("it has too many fields")
    return 0, "", tuple(ip(server) for server in fields[:2] if server)


def _method(text: str) -> str:
    if text in _UNSUPPORTED or "," in text:
        raise ValueError(f"this version of lvpack does not support '{text}'")
    if text not in _METHODS:
        raise ValueError(f"'{text}' is no way to get an address")
    return _METHODS[text]


def _with_prefix(client: str, netmask: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    if not netmask:
        raise ValueError(f"address {client} has no netmask")
    try:
        address = ipaddress.ip_interface(f"{client}/{netmask}")
    except ValueError:
        raise ValueError(f"'{netmask}' is not a netmask or a prefix length") from None
    if address.network.prefixlen == 0:
        raise ValueError(f"netmask '{netmask}' leaves no network")
    return address


def split(text: str) -> list[str]:
    """Split a text at the colons that stand outside brackets."""
    return re.split(r":(?![^\[]*\])", text)


def interface(text: str, length: int = ALTERNATIVE_LENGTH) -> str:
    """Return the name of an interface as it is, or its MAC address in lower case with colons."""
    if _MAC.fullmatch(text):
        return mac(text)
    if not re.fullmatch(r"[^\s/:,\[\]]+", text) or text in (".", "..") or len(text) > length:
        raise ValueError(f"'{text}' is neither the name of an interface nor a MAC address")
    return text


def mtu(text: str) -> int:
    """Return an MTU in bytes; 0, also for an empty text, leaves it as it is."""
    if text not in ("", "0") and not (re.fullmatch(r"[0-9]{1,5}", text) and 68 <= int(text) <= 65535):
        raise ValueError(f"an MTU of {text} is not possible")
    return int(text or 0)


def mac(text: str) -> str:
    """Return a MAC address in lower case with colons."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"'{text}' is not a MAC address such as 52:54:00:12:34:56")
    return text.lower().replace("-", ":")


def ip(text: str) -> str:
    """Return an IP address without brackets, in its short form."""
    try:
        address = ipaddress.ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"'{text}' is not the address of a machine")
    return str(address)
