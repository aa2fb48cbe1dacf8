"""The ISO: one file that boots from a CD or, copied with `dd`, from a USB stick, by BIOS and by UEFI with Secure Boot.

BIOS: El Torito and an MBR, both with GRUB. UEFI: an EFI system partition, appended to the ISO and shown as El Torito
image and as partition 2, with Debian's signed shim and GRUB. Both GRUBs find the ISO by its label: other media with
GRUB may be in the machine.

No unit test: firmware says whether an ISO boots, in qemu-tests/tests/test_boot.py and test_uefi.py.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lvpack_agent.devices.lsblk import BOOT_LABEL
from lvpack_agent.processes import run
from lvpack_agent.sizes import KIB, MIB, round_up
from lvpack_builder.boot import menus
from lvpack_builder.boot.loaders import BIOS_MODULES, GRUB_BIOS, GRUB_CD, MOK_MANAGER, SHIM
from lvpack_builder.reproducible import stamp

FIND = f"search --label --set=root {BOOT_LABEL}\nset prefix=($root)/boot/grub\n"
# Any number will do as the FAT volume's; a fixed one keeps builds the same.
FAT_SERIAL = "4c56504b"


def write_iso(kernel: Path, initrd: Path, arguments: Sequence[str], out: Path, secrets: Path | None = None) -> None:
    """Write a hybrid ISO that boots kernel and initrd; arguments are for its menu. Its times are SOURCE_DATE_EPOCH.

    secrets is an initrd with secrets, which then are in the ISO: only its owner may read that.
    """
    if secrets:
        out.touch(mode=0o600)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        root, esp = Path(folder) / "root", Path(folder) / "esp.img"
        (root / "boot/grub").mkdir(parents=True)
        os.link(kernel, root / "boot/vmlinuz")
        os.link(initrd, root / "boot/initrd.img")
        if secrets:
            os.link(secrets, root / "boot" / secrets.name)
        menu = menus.render("grub.cfg.j2", arguments, secrets.name if secrets else "", folder="/boot", suffix="")
        (root / "boot/grub/grub.cfg").write_text(menu)
        _bios_image(root / "boot/grub/bios.img")
        _efi_partition(Path(folder), esp)
        command: list[str | Path] = ["xorriso", "-as", "mkisofs", "-quiet", "-o", out, "-V", BOOT_LABEL]
        command += ["-r", "-J"]
        command += ["-b", "boot/grub/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
        command += ["--grub2-boot-info", "--grub2-mbr", GRUB_BIOS / "boot_hybrid.img"]
        # Room before partition 1 for the MBR's partition to be mountable; some BIOSes want one that is active.
        command += ["-partition_offset", "16", "--mbr-force-bootable"]
        command += ["-append_partition", "2", "0xef", esp]
        command += ["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
        stamp(root)
        run([*command, root])


def _bios_image(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        early = Path(folder) / "early.cfg"
        early.write_text(FIND)
        command: list[str | Path] = ["grub-mkimage", "--format=i386-pc-eltorito", f"--directory={GRUB_BIOS}"]
        run([*command, "--prefix=/boot/grub", f"--config={early}", f"--output={out}", *BIOS_MODULES])


def _efi_partition(folder: Path, out: Path) -> None:
    """Make a FAT filesystem with EFI/BOOT/BOOTX64.EFI (UEFI 3.5.1.1: removable media) and what it loads."""
    boot, grub = folder / "EFI/BOOT", folder / "boot/grub"
    boot.mkdir(parents=True)
    grub.mkdir(parents=True)
    # The prefix that is built into the signed GRUB is /boot/grub, and first of all it looks there, on this filesystem.
    (grub / "grub.cfg").write_text(f"{FIND}configfile $prefix/grub.cfg\n")
    # shim loads grubx64.efi from its own folder, and mmx64.efi to enroll keys.
    for name, source in (("BOOTX64.EFI", SHIM), ("grubx64.efi", GRUB_CD), ("mmx64.efi", MOK_MANAGER)):
        shutil.copy(source, boot / name)
    files = sum(p.stat().st_size for p in boot.iterdir())
    with out.open("wb") as file:
        file.truncate(round_up(files + 256 * KIB, MIB))
    run(["mformat", "-i", out, "-N", FAT_SERIAL, "-v", f"{BOOT_LABEL}_EFI", "::"])
    run(["mcopy", "-i", out, "-s", folder / "EFI", folder / "boot", "::"])
