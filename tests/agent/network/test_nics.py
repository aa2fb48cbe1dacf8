from pathlib import Path

import pytest

from lvpack_agent.network import nics
from lvpack_agent.network.line import router_address

DRIVERS = {"ens2": "virtio_net", "ens3": "virtio_net", "ens4": "virtio_net"}


@pytest.fixture
def bonded() -> Path:
    """Recordings of a guest with three NICs, two of them in a bond: README there has the command of each."""
    return Path(__file__).parents[2] / "data/bonded"


def test_links_and_what_they_are_called(bonded: Path) -> None:
    lo, alone, first, second, bond = nics.parse((bonded / "link.json").read_text(), DRIVERS)
    assert [n.name for n in (lo, alone, first, second, bond)] == ["lo", "ens2", "ens3", "ens4", "bond0"]
    assert [n.ethernet for n in (lo, alone, bond)] == [False, True, True]
    assert (first.master, second.master, alone.master) == ("bond0", "bond0", "")
    assert (first.link, bond.link) == (True, True)
    assert all(second.is_called(name) for name in ("ens4", "enp0s4", "enx52540000000c", "52:54:00:00:00:0c"))
    # All three have the address of the first NIC now, but only one was made with it.
    assert [n.name for n in (first, second, bond) if n.is_called("52:54:00:00:00:0b")] == ["ens3"]
    assert nics.describe((lo, first, bond)) == "the NICs are ens3 (52:54:00:00:00:0b, virtio_net, link)"


def test_address_by_a_routers_advertisement(bonded: Path) -> None:
    text = (bonded / "address-6.json").read_text()
    assert router_address(text) == "fec0::5054:ff:fe00:b/64"
    assert router_address(text.replace('"dynamic":true', '"dynamic":true,"tentative":true')) == ""
    assert router_address("[]") == ""
