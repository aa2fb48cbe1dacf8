"""Network cards of virtual machines: what they are plugged into, and pulling and plugging their cables."""

from dataclasses import dataclass
from pathlib import Path

from lvpack_builder.lab.monitor import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card; netdev is the value of QEMU's -netdev without an id, e.g. "user" or "hubport,hubid=0".

    boots: the machine boots from it first. rom: it brings iPXE, which a BIOS needs for that; UEFI has a driver of its
    own, and the ROM's gives shim the size of its buffer as that of the file, so that Secure Boot fails. set_link()
    knows it as nic0, nic1 and so on, by its place in the machine.
    """

    netdev: str
    mac: str
    boots: bool = False
    rom: bool = False

    def words(self, number: int) -> list[str]:
        """Return QEMU's arguments."""
        device = f"virtio-net-pci,id=nic{number},netdev=net{number},mac={self.mac}"
        device += (",bootindex=0" if self.boots else "") + ("" if self.rom else ",romfile=")
        return ["-netdev", f"{self.netdev},id=net{number}", "-device", device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """What a hub leads to: netdev as in Nic. Cards whose netdev is "hubport,hubid=HUB" are plugged into the hub."""

    hub: int
    netdev: str

    def words(self, number: int) -> list[str]:
        """Return QEMU's arguments."""
        port = f"hubport,id=port{number},hubid={self.hub},netdev=net{number}"
        return ["-netdev", f"{self.netdev},id=net{number}", "-netdev", port]


def set_link(monitor: Path, card: str, *, up: bool) -> None:
    """Plug a card's cable in or pull it, by QEMU's monitor. Raises Failed if QEMU does not do it."""
    ask(monitor, "set_link", name=card, up=up)
