"""Boot loaders of this machine that go into images: Debian's signed shim and GRUB, GRUB for BIOS, pxelinux, iPXE."""

from pathlib import Path

SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
MOK_MANAGER = Path("/usr/lib/shim/mmx64.efi.signed")
# "gcd" has the modules for a CD, "grubnet" those for the network, and looks on the server that it came from.
GRUB_CD = Path("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")
GRUB_NET = Path("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")
GRUB_BIOS = Path("/usr/lib/grub/i386-pc")
PXELINUX = Path("/usr/lib/PXELINUX/lpxelinux.0")
SYSLINUX_MODULES = Path("/usr/lib/syslinux/modules/bios")
IPXE_BIOS = Path("/usr/lib/ipxe/undionly.kpxe")
IPXE_EFI = Path("/usr/lib/ipxe/snponly.efi")

# All that the menu needs is in GRUB's image: a BIOS reads a CD slowly, and no more files of GRUB are on it.
BIOS_MODULES = (
    *("biosdisk", "iso9660", "part_msdos", "search", "search_label", "normal", "configfile", "linux"),
    *("serial", "terminal", "test", "echo", "reboot", "halt"),
)

# File → Debian package that has it.
PACKAGES = {
    SHIM: "shim-signed",
    MOK_MANAGER: "shim-helpers-amd64-signed",
    GRUB_CD: "grub-efi-amd64-signed",
    GRUB_NET: "grub-efi-amd64-signed",
    GRUB_BIOS / "boot_hybrid.img": "grub-pc-bin",
    PXELINUX: "pxelinux",
    SYSLINUX_MODULES / "ldlinux.c32": "syslinux-common",
    IPXE_BIOS: "ipxe",
    IPXE_EFI: "ipxe",
}
