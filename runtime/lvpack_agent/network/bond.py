"""The option `bond=`: the NICs of a bond and the options that the kernel gives it."""

import re

from lvpack_agent.network import ipoption
from lvpack_agent.network.ipoption import interface, split
from lvpack_agent.network.values import Bond

# Documentation/networking/bonding.rst; mode and the rest of them are files in /sys/class/net/BOND/bonding.
BOND_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
BOND_OPTIONS = (
    *("mode", "miimon", "updelay", "downdelay", "use_carrier", "arp_interval", "arp_ip_target", "arp_validate"),
    *("arp_all_targets", "arp_missed_max", "primary", "primary_reselect", "fail_over_mac", "xmit_hash_policy"),
    *("lacp_rate", "lacp_active", "ad_select", "ad_actor_sys_prio", "ad_actor_system", "ad_user_port_key", "min_links"),
    *("num_grat_arp", "num_unsol_na", "peer_notif_delay", "resend_igmp", "packets_per_slave", "lp_interval"),
    *("all_slaves_active", "tlb_dynamic_lb"),
)
# The kernel's default watches no link, and a bond would send into cables that are not there; in milliseconds.
MIIMON = "100"


def read_bond(word: str, text: str) -> Bond:
    """Read an option word, `bond=` and text. Raises ValueError that says what is wrong."""
    # The colons of MAC addresses are not those between the fields.
    name, *rest = split(re.sub(r"(?i)(?<=[:,])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f])", _dashed, text))
    members, options, mtu, *more = [*rest, "", "", ""]
    if any(more):
        raise ValueError("it has too many fields")
    if not members:
        raise ValueError("it names no NICs")
    return Bond(
        word=word,
        name=interface(name, ipoption.NAME_LENGTH),
        members=tuple(interface(m) for m in members.split(",")),
        options=_bond_options(options),
        mtu=ipoption.mtu(mtu),
    )


def _dashed(match: re.Match[str]) -> str:
    return match[0].replace(":", "-")


def _bond_options(text: str) -> tuple[tuple[str, str], ...]:
    given: dict[str, str] = {}
    for item in text.split(",") if text else ():
        key, _, value = item.partition("=")
        if key not in BOND_OPTIONS or not value:
            raise ValueError(f"'{item}' is not an option of a bond with its value")
        given[key] = value
    mode = given.pop("mode", BOND_MODES[0])
    if mode.isdecimal() and int(mode) < len(BOND_MODES):
        mode = BOND_MODES[int(mode)]
    if mode not in BOND_MODES:
        raise ValueError(f"'{mode}' is not a mode of a bond; there are {', '.join(BOND_MODES)}")
    if "miimon" not in given and "arp_interval" not in given:
        given["miimon"] = MIIMON
    # The kernel takes some options only in some modes, and delays only after miimon.
    first = {key: given.pop(key) for key in ("miimon", "arp_interval") if key in given}
    return (("mode", mode), *first.items(), *given.items())
