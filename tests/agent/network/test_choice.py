import pytest

from lvpack_agent.network.choice import Choice
from lvpack_agent.network.nics import Nic
from lvpack_agent.network.options import network_options

MACS = {f"ens{number}": f"52:54:00:00:00:0{number}" for number in (2, 3, 4)}
NICS = (
    Nic(name="lo", alternatives=(), mac="", driver="", ethernet=False, link=True, master=""),
    *(
        Nic(name=n, alternatives=(), mac=m, driver="e1000", ethernet=True, link=True, master="")
        for n, m in MACS.items()
    ),
    Nic(name="dummy0", alternatives=(), mac="02:00:00:00:00:01", driver="", ethernet=True, link=True, master=""),
)
THIRD = f"BOOTIF=01-{MACS['ens4'].replace(':', '-')}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["ens2", "ens3", "ens4"]),
        (["ip=dhcp"], ["ens2", "ens3", "ens4"]),
        ([THIRD], ["ens4"]),
        ([THIRD, "ip=auto6"], ["ens4"]),
        ([THIRD, "rd.bootif=0"], ["ens2", "ens3", "ens4"]),
        ([THIRD, "bootdev=ens2"], ["ens2"]),
        (["bootdev=up", f"ifname=up:{MACS['ens3']}"], ["ens3"]),
        (["bond=bond0:ens2,ens3"], ["bond0"]),
        (["vlan=vlan5:ens2"], ["vlan5"]),
        (["vlan=vlan5:ens2", "vlan=vlan6:ens4", THIRD], ["vlan6"]),
        (["vlan=vlan5:ens2", "vlan=vlan6:ens2", THIRD], ["vlan5", "vlan6"]),
        (["bond=bond0:ens3,ens4", "vlan=vlan5:bond0", "vlan=vlan6:ens2", THIRD], ["vlan5"]),
    ],
)
def test_what_an_ip_without_an_interface_means(words: list[str], expected: list[str]) -> None:
    choice = Choice(network_options(words), NICS)
    assert choice.anywhere and choice.candidates() == expected
    assert choice.absent() == []


def test_the_first_interface_has_the_default_route() -> None:
    words = ["ip=ens2:dhcp", f"ip={MACS['ens3']}:dhcp", "ip=ens4:dhcp"]
    assert [s.interface for s in Choice(network_options(words), NICS).in_order()] == ["ens2", MACS["ens3"], "ens4"]
    assert Choice(network_options([*words, THIRD]), NICS).in_order()[0].interface == "ens4"
    assert Choice(network_options([*words, "bootdev=ens3"]), NICS).in_order()[0].interface == MACS["ens3"]
    assert not Choice(network_options(words), NICS).anywhere


def test_what_is_named_and_not_there() -> None:
    words = ["bond=bond0:ens2,ens8", "vlan=vlan5:bond0", "ip=vlan5:dhcp", "ip=eth0:dhcp", "rd.route=10.0.0.0/8::ens9"]
    assert Choice(network_options(words), NICS).absent() == [
        ("ens8", "bond=bond0:ens2,ens8"),
        ("eth0", "ip=eth0:dhcp"),
        ("ens9", "rd.route=10.0.0.0/8::ens9"),
    ]
    late = Choice(network_options([THIRD]), NICS[:2])
    assert late.absent() == [(MACS["ens4"], f"BOOTIF={MACS['ens4']}")]
    assert late.name(MACS["ens4"]) == MACS["ens4"]
    # With an interface in ip=, BOOTIF only sets the order, and may be missing.
    assert Choice(network_options([THIRD, "ip=ens2:dhcp"]), NICS[:2]).absent() == []
