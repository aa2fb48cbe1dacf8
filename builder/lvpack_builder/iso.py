"""The ISO: El Torito for BIOS, and an MBR so that `dd` to a USB stick boots as well."""

import shutil
import tempfile
from pathlib import Path

from lvpack_agent.processes import run


def write_iso(kernel: Path, initrd: Path, menu: str, out: Path) -> None:
    """Write a hybrid ISO that boots kernel and initrd by GRUB with this grub.cfg."""
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        root = Path(folder)
        (root / "boot/grub").mkdir(parents=True)
        shutil.copy(kernel, root / "boot/vmlinuz")
        shutil.copy(initrd, root / "boot/initrd.img")
        (root / "boot/grub/grub.cfg").write_text(menu)
        command: list[str | Path] = ["grub-mkrescue", "--directory=/usr/lib/grub/i386-pc", f"--output={out}"]
        # Only what the menu needs is loaded: a BIOS reads a CD slowly.
        command += ["--install-modules=normal linux serial terminal iso9660 biosdisk part_msdos configfile echo test"]
        command += ["--fonts=", "--locales=", "--themes=", root, "--", "-volid", "LVPACK"]
        run(command)
