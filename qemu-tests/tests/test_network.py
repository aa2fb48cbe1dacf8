"""The network as the kernel command line asks for it, seen by whether an NFS server is reached over the NIC meant."""

import re
from collections.abc import Callable, Sequence

import pytest

from lab.runs import Lab, assert_ended, result_in
from lab.vlanswitch import switch
from lvpack_agent.report import Report
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Console, running
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, nfs_share
from lvpack_builder.lab.nics import Nic, Uplink, set_link
from lvpack_builder.lab.qemu import accelerator, live

pytestmark = pytest.mark.timeout(900)

MACS = [f"52:54:00:00:00:{number:02x}" for number in range(10, 14)]
# Both answer DHCP; only the network of the second has a way to the share.
NOWHERE, HOST = "user,restrict=on,net=192.168.77.0/24", "user"
TWO = (Nic(netdev=NOWHERE, mac=MACS[0]), Nic(netdev=HOST, mac=MACS[1]))
SILENT = "hubport,hubid=9"


def boot(
    lab: Lab, nics: Sequence[Nic | Uplink], *words: str, meanwhile: Callable[[Console], None] | None = None
) -> tuple[Report, str]:
    """Verify an image set that is not there; return the result and the console, which says what came before."""
    with nfs_share(lab.share) as share:
        arguments = ["lvpack.action=verify", f"lvpack.source={share.url}/none", "lvpack.onerror=poweroff", *words]
        machine = live(lab.image, arguments, nics=tuple(nics), monitor=lab.folder / "qmp", memory=512, cpus=1)
        with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
            if meanwhile:
                meanwhile(console)
            report = console.result(400)
            console.wait(120)
            return report, console.transcript.read_text(errors="replace")


def assert_reached(report: Report, console: str, address: str, interface: str = "ens3") -> None:
    """The share was mounted, over the one interface that has an address."""
    assert_ended(report, "refused", "'none'", "manifest.json")
    assert f"share: nfs://{HOST_FROM_GUEST}:" in console
    assert re.findall(r"^network: (\S+) has (\S+)", console, re.MULTILINE) == [(interface, address)]


def test_the_nic_that_the_machine_booted_from_and_then_a_static_address(lab: Lab) -> None:
    """The second run, in the same machine, has other options: what the first set up by DHCP goes."""
    with nfs_share(lab.share) as share:
        words = ["lvpack.action=verify", f"lvpack.source={share.url}/none", "lvpack.onerror=shell"]
        booted_from = f"BOOTIF=01-{MACS[1].replace(':', '-')}"
        machine = live(lab.image, [*words, booted_from], nics=TWO, memory=512)
        with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
            report = console.result(400)
            assert_reached(report, console.transcript.read_text(errors="replace"), "10.0.2.15/24")
            console.shell("stty -echo", 60)
            static = [f"ip=10.0.2.77::10.0.2.2:255.255.255.0::{MACS[1]}:none", "nameserver=10.0.2.3"]
            answer = console.shell(f"python3 -m lvpack_agent --cmdline '{' '.join([*words, *static])}'", 400)
            assert_reached(result_in(answer.output), answer.output, "10.0.2.77/24")
            assert "DHCP" not in answer.output
            addresses = console.shell("ip -4 -o address show scope global | cat", 30).output
            assert re.findall(r"(\S+) +inet (\S+)", addresses) == [("ens3", "10.0.2.77/24")]


@pytest.mark.full
def test_link_that_comes_up_late(lab: Lab) -> None:
    def plug_in_later(console: Console) -> None:
        set_link(lab.folder / "qmp", "nic0", up=False)
        console.expect(r"network: waiting for a link on ens2: \d\d s left", 180)
        set_link(lab.folder / "qmp", "nic0", up=True)

    report, console = boot(lab, [Nic(netdev=HOST, mac=MACS[0])], meanwhile=plug_in_later)
    assert_reached(report, console, "10.0.2.15/24", "ens2")


@pytest.mark.full
def test_no_dhcp_answer(lab: Lab) -> None:
    report, console = boot(lab, [Nic(netdev=SILENT, mac=MACS[0])], "rd.net.timeout.dhcp=20")
    assert_ended(report, "failed", "reach the share", "no DHCP answer on ens2 after ")
    assert f"ens2 ({MACS[0]}, virtio_net, link)" in report.hint
    left = [int(n) for n in re.findall(r"waiting for a DHCP answer on ens2: (\d+) s left", console)]
    assert len(left) >= 3 and left == sorted(left, reverse=True)
    assert "then: poweroff" in console


@pytest.mark.full
def test_nic_that_is_not_there(lab: Lab) -> None:
    report, console = boot(lab, TWO, "ip=eth7:dhcp", "rd.net.timeout.carrier=10")
    assert_ended(report, "failed", "'eth7' of option 'ip=eth7:dhcp' is not there")
    assert all(mac in report.hint for mac in MACS[:2])
    assert "network: waiting for NIC eth7" in console


@pytest.mark.full
def test_malformed_option_stops_before_anything_is_tried(lab: Lab) -> None:
    report, console = boot(lab, TWO, "ip=ens3:dchp")
    assert_ended(report, "refused", "'ip=ens3:dchp'", "'dchp'")
    assert "network:" not in console


@pytest.mark.full
def test_several_nics_each_with_its_own(lab: Lab) -> None:
    nics = [*TWO, Nic(netdev=SILENT, mac=MACS[2])]
    words = ["ip=ens2:dhcp", "ip=enp0s3:dhcp", "ip=ens4:dhcp", f"bootdev={MACS[1]}", "rd.net.timeout.dhcp=30"]
    report, console = boot(lab, nics, *words)
    assert_ended(report, "refused", "'none'", "manifest.json")
    assert set(re.findall(r"^network: (\S+) has (\S+)", console, re.MULTILINE)) == {
        ("ens2", "192.168.77.15/24"),
        ("ens3", "10.0.2.15/24"),
    }
    assert "network: warning: no DHCP answer on ens4 after" in console


@pytest.mark.full
def test_bond_with_a_dead_link(lab: Lab) -> None:
    ports = [Nic(netdev="hubport,hubid=0", mac=mac) for mac in MACS[:2]]
    words = ["bond=bond0:ens2,ens3:mode=active-backup,primary=ens2", "ip=bond0:dhcp"]

    def pull_the_first(_: Console) -> None:
        set_link(lab.folder / "qmp", "nic0", up=False)

    report, console = boot(lab, [*ports, Uplink(hub=0, netdev=HOST)], *words, meanwhile=pull_the_first)
    assert_reached(report, console, "10.0.2.15/24", "bond0")


@pytest.mark.full
def test_vlan(lab: Lab) -> None:
    with switch(lab.folder, 5) as between:
        uplinks = [Uplink(hub=0, netdev=netdev) for netdev in (between.access, HOST)]
        report, console = boot(
            lab, [Nic(netdev=between.trunk, mac=MACS[0]), *uplinks], f"vlan=ens2.0005:{MACS[0]}", "ip=ens2.0005:dhcp"
        )
    assert_reached(report, console, "10.0.2.15/24", "ens2.0005")
    assert between.passed["out"] > 20 and between.passed["in"] > 20, between


@pytest.mark.full
def test_ipv6_by_a_routers_advertisement(lab: Lab) -> None:
    # QEMU's router advertises fec0::/64, and fec0::2 is the host's ::1, where nothing listens on port 1.
    report, console = boot(lab, TWO, "ip=ens3:auto6", "lvpack.source=nfs://[fec0::2]:1/export/none")
    assert_ended(report, "failed", "'nfs://[fec0::2]:1/export'", "Connection refused")
    assert re.search(r"^network: ens3 has fec0::5054:ff:fe00:b/64\r?$", console, re.MULTILINE)


# A DHCP server in a namespace of the guest itself, with the second NIC at the other end of the cable.
SERVER = r"""
ip netns add server && ip link set ens3 netns server
there="ip netns exec server"
$there ip address add 10.9.0.1/24 dev ens3 && $there ip link set ens3 up
cat > /run/udhcpd.conf << END
start 10.9.0.50
end 10.9.0.50
interface ens3
lease_file /run/leases
opt subnet 255.255.255.0
opt router 10.9.0.1
opt staticroutes 10.20.0.0/16 10.9.0.9, 0.0.0.0/0 10.9.0.2
opt mtu 1400
opt dns 10.9.0.3 10.9.0.4
opt domain example.org
opt hostname someone-else
END
touch /run/leases && $there udhcpd /run/udhcpd.conf
"""


@pytest.mark.full
def test_what_a_lease_says_is_done_and_done_again_when_it_is_renewed(lab: Lab) -> None:
    cable = tuple(Nic(netdev="hubport,hubid=0", mac=mac) for mac in MACS[:2])
    machine = live(lab.image, ["lvpack.action=shell"], nics=cable, memory=512, cpus=1)
    with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
        helper.shell_ready(console)
        assert console.shell(SERVER, 60).status == 0
        words = "ip=ens2:dhcp nameserver=10.9.0.8 lvpack.action=verify lvpack.source=nfs://10.9.0.1:1/export/none"
        said = console.shell(f"python3 -m lvpack_agent --cmdline '{words}'", 200).output
        assert "network: ens2 has 10.9.0.50/24 by DHCP" in said and "Connection refused" in said
        routes = console.shell("ip -color=never route show dev ens2", 30).output.splitlines()
        assert [line.partition(" metric")[0] for line in routes if " via " in line] == [
            "default via 10.9.0.2",
            "10.20.0.0/16 via 10.9.0.9",
        ]
        assert console.shell("cat /sys/class/net/ens2/mtu; hostname", 30).output.split() == ["1400", "lvpack"]
        servers = ["nameserver 10.9.0.8", "search example.org", "nameserver 10.9.0.3", "nameserver 10.9.0.4"]
        assert console.shell("cat /etc/resolv.conf", 30).output.splitlines() == servers
        renew = "ip route del 10.20.0.0/16 && kill -USR1 $(cat /run/lvpack/network/ens2.pid)"
        back = "timeout 60 sh -c 'until ip -color=never route | grep -q 10.20; do sleep 1; done'"
        assert console.shell(f"{renew} && {back}", 90).status == 0
        # A second run finds the network up.
        assert "network:" not in console.shell(f"python3 -m lvpack_agent --cmdline '{words}'", 200).output
