import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.errors import Refused
from lvpack_agent.network import ipoption, options
from lvpack_agent.network.ipoption import Setup
from lvpack_agent.network.options import network_options
from lvpack_agent.network.values import Alias, NetOptions, Route

MAC = "52:54:00:12:34:56"
DOCS = Path(__file__).parents[3] / "docs/network.md"

macs = st.lists(st.integers(0, 255), min_size=6, max_size=6).map(lambda b: ":".join(f"{n:02x}" for n in b))
names = st.from_regex(r"[a-z][a-z0-9.]{0,14}", fullmatch=True)
hosts = st.integers(0x01000000, 0xDFFFFFFF).map(lambda n: str(ipaddress.IPv4Address(n)))


@pytest.mark.parametrize("method", ["dhcp", "on", "any", "single-dhcp"])
def test_dhcp_anywhere(method: str) -> None:
    assert network_options([f"ip={method}"]).setups == (Setup(word=f"ip={method}"),)


@pytest.mark.parametrize("name", ["ens2", "eth0.5", MAC, MAC.replace(":", "-"), MAC.upper()])
def test_interface_by_name_or_mac(name: str) -> None:
    interface = MAC if name.count(":") + name.count("-") == 5 else name
    [short] = network_options([f"ip={name}:dhcp:9000:02:00:00:00:00:01"]).setups
    assert (short.interface, short.method, short.mtu, short.mac) == (interface, "dhcp", 9000, "02:00:00:00:00:01")
    [long] = network_options([f"ip=10.0.0.2::10.0.0.1:255.255.255.0:web:{name}:none"]).setups
    assert (long.interface, long.method, long.address, long.gateway) == (interface, "static", "10.0.0.2/24", "10.0.0.1")


def test_forms_of_the_kernel_and_of_pxelinux() -> None:
    # nfsroot.rst: <client-ip>:<server-ip>:<gw-ip>:<netmask>:<hostname>:<device>:<autoconf>:<dns0-ip>:<dns1-ip>:<ntp0>
    [kernel] = network_options(
        ["ip=10.0.0.2:10.0.0.9:10.0.0.1:255.255.255.0:web:eth0:off:10.0.0.3:10.0.0.4:10.0.0.5"]
    ).setups
    assert (kernel.dns, kernel.peer, kernel.method) == (("10.0.0.3", "10.0.0.4"), "", "static")
    [pxelinux] = network_options(["ip=10.0.0.2:10.0.0.9:10.0.0.1:255.255.0.0"]).setups  # IPAPPEND 1
    assert (pxelinux.interface, pxelinux.address, pxelinux.gateway) == ("", "10.0.0.2/16", "10.0.0.1")
    assert network_options(["ip=:::::eth1:dhcp"]).setups[0].interface == "eth1"
    assert network_options(["ip=::::web::dhcp"]).setups[0].method == "dhcp"


def test_peer_is_the_other_end_of_a_line() -> None:
    [setup] = network_options(["ip=10.0.0.2:10.9.9.9/32::255.255.255.255::ens2:none"]).setups
    assert (setup.address, setup.peer) == ("10.0.0.2/32", "10.9.9.9")


def test_ipv6_stands_in_brackets() -> None:
    [setup] = network_options(["ip=[2001:db8::2]::[2001:DB8:0::1]:64::ens2:none:[2001:db8::53]"]).setups
    assert (setup.address, setup.gateway, setup.dns) == ("2001:db8::2/64", "2001:db8::1", ("2001:db8::53",))
    assert setup.family == 6 and network_options(["ip=ens2:auto6"]).setups[0].family == 6
    assert len(network_options(["ip=ens2:auto6", "ip=ens2:dhcp"]).setups) == 2


@given(hosts, st.integers(1, 32), st.none() | hosts, st.one_of(st.just(""), names, macs), st.just("ab") | st.just(""))
def test_static_addresses(host: str, prefix: int, gateway: str | None, name: str, hostname: str) -> None:
    mask = str(ipaddress.ip_network(f"0.0.0.0/{prefix}").netmask)
    expected = Setup(
        word="", interface=name, method="static", address=f"{host}/{prefix}", gateway=gateway or "", mtu=1400
    )
    for netmask in (mask, str(prefix)):
        word = f"ip={host}::{gateway or ''}:{netmask}:{hostname}:{name}:none:1400"
        assert network_options([word]).setups == (
            Setup(**{f: getattr(expected, f) for f in expected.__dataclass_fields__} | {"word": word}),
        )


@given(st.text(alphabet="0123456789abcdefinost.:-[],= /dhcp", max_size=60))
def test_any_text_is_read_or_refused_with_what_it_takes(text: str) -> None:
    for key in options.OPTIONS:
        try:
            assert isinstance(network_options([f"{key}={text}"]), NetOptions)
        except Refused as refused:
            assert refused.message.startswith(f"cannot use option '{key}={text}': ")
            assert refused.hint.startswith(f"{key}= takes ")


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("ip=", "'nothing' is no way"),
        ("ip=ens2", "'ens2' is no way"),
        ("ip=dhcp6", "does not support 'dhcp6'"),
        ("ip=dhcp,dhcp6", "does not support"),
        ("ip=ens2:bootp", "does not support 'bootp'"),
        ("ip=ens2:dchp", "'dchp' is no way"),
        ("ip=ens2:dhcp:60", "MTU of 60"),
        ("ip=ens2:dhcp:1500:52:54:00", "'52:54:00' is not a MAC"),
        ("ip=ens2:dhcp:10.0.0.3", "use nameserver="),
        ("ip=10.0.0.2", "no netmask"),
        ("ip=10.0.0.2::10.0.0.1::web:ens2:none", "no netmask"),
        ("ip=10.0.0.2::10.0.0.1:255.0.255.0::ens2:none", "'255.0.255.0' is not a netmask"),
        ("ip=10.0.0.256::10.0.0.1:24::ens2:none", "'10.0.0.256' is not an IP address"),
        ("ip=10.0.0.2::10.0.0:24::ens2:none", "'10.0.0' is not an IP address"),
        ("ip=10.0.0.2::10.0.0.1:24::ens2:dhcp", "asks for another one"),
        ("ip=10.0.0.2::[2001:db8::1]:24::ens2:none", "different versions"),
        ("ip=[2001:db8::2::[2001:db8::1]:64::ens2:none", "is neither the name"),
        ("ip=10.0.0.2::10.0.0.1:24:::none::52:54:00:12:34:56", "interface that is named"),
        ("BOOTIF=ens2", "not a MAC address"),
        ("BOOTIF=20-52-54-00-12-34-56", "not an Ethernet address"),
        ("BOOTIF=", "not a MAC address"),
        ("vlan=storage:ens2", "does not end in the id"),
        ("vlan=vlan4095:ens2", "does not end in the id"),
        ("vlan=vlan5", "names no interface"),
        ("bond=bond0", "names no NICs"),
        ("bond=bond0:ens2,ens3:mode=fast", "'fast' is not a mode"),
        ("bond=bond0:ens2,ens3:speed=9", "'speed=9' is not an option"),
        ("bond=bond0:ens2,ens3:mode=1:1500:x", "too many fields"),
        ("bond=bond0:ens2,:mode=1", "'' is neither"),
        ("ifname=bootnet:52-54", "not a MAC address"),
        ("nameserver=dns.example.org", "not an IP address"),
        ("nameserver=0.0.0.0", "not the address of a machine"),
        ("rd.route=10.0.0.1/8:10.9.9.9", "not a network"),
        ("rd.route=10.0.0.0/8", "neither a gateway nor an interface"),
        ("rd.route=10.0.0.0/8:[2001:db8::1]", "different versions"),
        ("rd.peerdns=maybe", "neither 1 nor 0"),
        ("rd.net.timeout.dhcp=0", "not a whole number above 0"),
        ("team=team0:ens2,ens3", "does not support"),
        ("bridge=br0:ens2", "does not support"),
    ],
)
def test_malformed_options_are_refused(word: str, cause: str) -> None:
    with pytest.raises(Refused, match=re.escape(cause)) as refused:
        network_options(["quiet", word])
    assert f"'{word}'" in refused.value.message
    assert refused.value.hint.startswith(f"{word.partition('=')[0]}= takes ")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["ip=dhcp", "ip=ens2:dhcp"], "each must name its interface"),
        (["ip=ens2:dhcp", "ip=10.0.0.2::10.0.0.1:24::ens2:none"], "another one sets 'ens2' up"),
        (["bond=bond0:ens2,ens3", "ip=ens2:dhcp"], "'ens2' is part of bond=bond0:ens2,ens3"),
        (["bond=bond0:ens2", "bond=bond1:ens2"], "'ens2' is part of bond=bond0:ens2 already"),
        (["bond=bond0:ens2", "vlan=vlan5:ens2"], "part of a bond"),
        (["vlan=vlan5:ens2", "vlan=vlan5:ens3"], "there is another 'vlan5'"),
        (["vlan=vlan5:ens2", "vlan=vlan5.6:vlan5"], "'vlan5' is a VLAN"),
    ],
)
def test_contradictions_are_refused(words: list[str], cause: str) -> None:
    with pytest.raises(Refused, match=re.escape(cause)):
        network_options(words)


@pytest.mark.parametrize("text", ["01-52-54-00-12-34-56", "52-54-00-12-34-56", MAC, MAC.upper(), f"01:{MAC}"])
def test_bootif(text: str) -> None:
    assert network_options([f"BOOTIF={text}"]).bootif == MAC
    assert network_options([f"BOOTIF={text}", "rd.bootif=0"]).bootif == ""


@pytest.mark.parametrize(
    ("name", "number"), [("vlan5", 5), ("vlan0005", 5), ("eth0.5", 5), ("eth0.0005", 5), ("vlan4094", 4094)]
)
def test_vlan_names_give_the_id(name: str, number: int) -> None:
    [vlan] = network_options([f"vlan={name}:{MAC}"]).vlans
    assert (vlan.name, vlan.id, vlan.parent) == (name, number, MAC)


def test_bonds() -> None:
    word = f"bond=bond0:{MAC},ens3:mode=1,primary=ens3,arp_ip_target=10.0.0.1;10.0.0.2,arp_interval=500:9000"
    [bond] = network_options([word]).bonds
    assert (bond.name, bond.members, bond.mtu) == ("bond0", (MAC, "ens3"), 9000)
    assert bond.options[:2] == (("mode", "active-backup"), ("arp_interval", "500"))
    assert dict(bond.options)["arp_ip_target"] == "10.0.0.1;10.0.0.2"
    [plain] = network_options(["bond=bond0:ens2,ens3"]).bonds
    assert plain.options == (("mode", "balance-rr"), ("miimon", "100"))


def test_the_rest() -> None:
    options = network_options(
        [
            *("ifname=bootnet:52-54-00-12-34-56", "ip=bootnet:dhcp", "ip=ens3:dhcp", "bootdev=bootnet"),
            *("nameserver=10.0.0.3", "nameserver=[2001:db8::53]", "rd.peerdns=0"),
            *("rd.route=192.168.200.0/24:192.168.100.222:ens10", "rd.route=[2001:db8:3::/48]:[2001:db8:2::1]:ens10"),
            *("rd.net.timeout.carrier=30", "rd.net.timeout.dhcp=20", "rd.net.dhcp.retry=3", "lvpack.vg=ip", "quiet"),
        ]
    )
    assert options.aliases == (Alias(name="bootnet", mac=MAC),)
    assert (options.bootdev, options.nameservers, options.peerdns) == ("bootnet", ("10.0.0.3", "2001:db8::53"), False)
    assert [(r.network, r.gateway, r.interface) for r in options.routes] == [
        ("192.168.200.0/24", "192.168.100.222", "ens10"),
        ("2001:db8:3::/48", "2001:db8:2::1", "ens10"),
    ]
    assert (options.link_seconds, options.answer_seconds) == (30, 60)
    assert network_options(["quiet", "console=tty0", "lvpack.action=plan"]) == NetOptions()


def test_a_route_needs_no_gateway_on_a_link() -> None:
    [route] = network_options(["rd.route=192.168.200.0/24::ens10"]).routes
    assert route == Route(
        word="rd.route=192.168.200.0/24::ens10", network="192.168.200.0/24", gateway="", interface="ens10"
    )


@given(st.lists(st.text(alphabet="ab1.", max_size=4) | st.just("[2001:db8::1]"), min_size=1, max_size=9))
def test_split_undoes_join(fields: list[str]) -> None:
    assert ipoption.split(":".join(fields)) == fields


def test_the_docs_name_every_option() -> None:
    text = DOCS.read_text()
    assert [key for key in options.OPTIONS if f"`{key}=" not in text] == []
