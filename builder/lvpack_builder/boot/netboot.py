"""The netboot kit: a folder that a TFTP or HTTP server gives out as it is, for BIOS, UEFI and iPXE."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_builder.boot import menus
from lvpack_builder.boot.loaders import GRUB_NET, IPXE_BIOS, IPXE_EFI, MOK_MANAGER, PXELINUX, SHIM, SYSLINUX_MODULES

# What DHCP names as boot file, by firmware.
BOOT_FILES = {"bios": "lpxelinux.0", "uefi": "shimx64.efi"}
IPXE_SCRIPT = "lvpack.ipxe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine with arguments of its own; mac is its network interface's address: six pairs in lower case, colons.

    secrets: those that it has beside those for all machines, by their names.
    """

    mac: str
    arguments: tuple[str, ...]
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The address as it stands in names of files."""
        return self.mac.replace(":", "-")


def mac_address(text: str) -> str:
    """Return a MAC address with colons and in lower case. Raises Refused if text is none."""
    pairs = re.split("[:-]", text.lower())
    if len(pairs) != 6 or not all(re.fullmatch("[0-9a-f]{2}", pair) for pair in pairs):
        raise Refused(f"cannot use '{text}' as MAC address", hint="write six pairs of digits: 52:54:00:12:34:56")
    return ":".join(pairs)


def check_words(words: Sequence[str]) -> None:
    """Raise Refused for an argument that a boot loader would change."""
    for word in words:
        if "${" in word:
            raise Refused(f"cannot netboot with argument '{word}': iPXE expands '${{'", hint="leave '${' out")


def write_kit(folder: Path, arguments: Sequence[str], hosts: Sequence[Host] = (), secrets: str = "") -> None:
    """Add boot loaders, menus and a README to a folder that has vmlinuz and initrd.img.

    Arguments are such as check_words() lets pass. secrets is the name of an initrd with the secrets of all machines, ""
    if there are none; a host that has secrets of its own has an initrd as own_secrets() names it.
    """
    for name in ("pxelinux.cfg", "grub/hosts", "hosts", "ipxe"):
        (folder / name).mkdir(parents=True)
    copies = {"lpxelinux.0": PXELINUX, "shimx64.efi": SHIM, "grubx64.efi": GRUB_NET, "mmx64.efi": MOK_MANAGER}
    copies |= {f"ipxe/{source.name}": source for source in (IPXE_BIOS, IPXE_EFI)}
    copies |= {name: SYSLINUX_MODULES / name for name in ("ldlinux.c32", "menu.c32", "libutil.c32")}
    for name, source in copies.items():
        shutil.copyfile(source, folder / name)
    texts = {
        "pxelinux.cfg/default": menus.render("pxelinux.cfg.j2", arguments, secrets),
        "grub/grub.cfg": menus.render("netboot-grub.cfg.j2"),
        "grub/lvpack.cfg": _grub_menu(arguments, secrets),
        IPXE_SCRIPT: menus.render("lvpack.ipxe.j2", arguments, secrets, by_host=True),
        "README.md": menus.render("netboot-README.md.j2"),
    }
    for host in hosts:
        own = own_secrets(host) if host.secrets else secrets
        # 01 is Ethernet (pxelinux: "Loading a configuration file").
        texts[f"pxelinux.cfg/01-{host.name}"] = menus.render("pxelinux.cfg.j2", host.arguments, own)
        texts[f"grub/hosts/{host.mac}.cfg"] = _grub_menu(host.arguments, own)
        texts[f"hosts/{host.name}.ipxe"] = menus.render("lvpack.ipxe.j2", host.arguments, own, by_host=False)
    for name, text in texts.items():
        (folder / name).write_text(text)


def own_secrets(host: Host) -> str:
    """Return the path in the kit of the initrd with the secrets of a machine."""
    return f"hosts/{host.name}.secrets.img"


def _grub_menu(arguments: Sequence[str], secrets: str) -> str:
    return menus.render("grub.cfg.j2", arguments, secrets, folder="", suffix=" BOOTIF=$net_default_mac")
