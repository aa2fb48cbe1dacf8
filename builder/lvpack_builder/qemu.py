"""Virtual machines: a value that becomes a QEMU command line."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.processes import run
from lvpack_builder.build import LiveImage
from lvpack_builder.menus import KERNEL_ARGUMENTS
from lvpack_builder.paths import cache_dir

TCG = "tcg,thread=multi"
PROOF_SECONDS = 15.0

# No mitigations: page-table isolation makes an emulated guest about 1.5 times slower. no_timer_check avoids a
# rare panic of emulated guests on a loaded host.
EMULATED_ARGUMENTS = ("mitigations=off", "no_timer_check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk image of a guest; with temporary, writes are dropped at its end."""

    path: Path
    format: str = "raw"
    temporary: bool = False
    serial: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A virtual machine; memory in MiB. It boots kernel and initrd, else the ISO, else its first disk."""

    drives: tuple[Drive, ...] = ()
    memory: int = 1024
    cpus: int = 2
    kernel: Path | None = None
    initrd: Path | None = None
    arguments: tuple[str, ...] = ()
    iso: Path | None = None
    folders: tuple[tuple[str, Path], ...] = ()
    network: bool = True
    reboot: bool = False

    def command(self, accelerator: str) -> list[str]:
        """Return the QEMU command line; the serial console is on standard input and output."""
        words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio"]
        words += ["-accel", accelerator, "-machine", "pc", "-smp", str(self.cpus), "-m", str(self.memory)]
        # An emulated CPU of a vendor that is not affected by Meltdown avoids page-table isolation.
        words += ["-cpu", "host" if accelerator.startswith("kvm") else "max,vendor=AuthenticAMD"]
        words += ["-device", "virtio-rng-pci"]
        for number, drive in enumerate(self.drives):
            options = f"file={_escaped(drive.path)},format={drive.format},if=none,id=d{number},discard=unmap"
            words += ["-drive", options + (",snapshot=on" if drive.temporary else "")]
            serial = f",serial={drive.serial}" if drive.serial else ""
            words += ["-device", f"virtio-blk-pci,drive=d{number}{serial}"]
        if self.network:
            words += ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
        for tag, folder in self.folders:
            words += ["-virtfs", f"local,path={_escaped(folder)},mount_tag={tag},security_model=none"]
        if self.kernel:
            append = [*KERNEL_ARGUMENTS, *(EMULATED_ARGUMENTS if accelerator == TCG else ()), *self.arguments]
            words += ["-kernel", str(self.kernel), "-append", " ".join(_kernel_word(w) for w in append)]
            words += ["-initrd", str(self.initrd)] if self.initrd else []
        elif self.iso:
            words += ["-cdrom", str(self.iso), "-boot", "d"]
        words += [] if self.reboot else ["-no-reboot"]
        return words


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # a comma ends an option of QEMU


def _kernel_word(word: str) -> str:
    key, equals, value = word.partition("=")
    return f'{key}{equals}"{value}"' if " " in value else word


def live(image: LiveImage, arguments: Sequence[str], **options: object) -> Machine:
    """Return a machine that boots the live image's kernel directly."""
    return Machine(kernel=image.kernel, initrd=image.initrd, arguments=tuple(arguments), **options)  # type: ignore[arg-type]


def accelerator(image: LiveImage) -> str:
    """Return QEMU's accelerator: KVM if a guest was seen to run under it since this host booted, else emulation.

    LVPACK_ACCEL overrides it. On some hosts /dev/kvm exists and ordinary guests hang under it.
    """
    if chosen := os.environ.get("LVPACK_ACCEL"):
        return chosen
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    proof = cache_dir() / f"accelerator-{boot}"
    if not proof.exists():
        proof.write_text("kvm" if _kvm_works(image) else TCG)
    return proof.read_text()


def _kvm_works(image: LiveImage) -> bool:
    """Boot the live image's first stage under KVM; a kernel that panics and ends in time is a working guest."""
    # Without an initrd the kernel finds no root and, with panic=-1, reboots at once; -no-reboot ends QEMU then.
    machine = Machine(kernel=image.kernel, arguments=("panic=-1",), network=False, memory=256, cpus=1)
    begun = time.monotonic()
    try:
        run(machine.command("kvm"), timeout=PROOF_SECONDS)
    except LvpackError:
        return False
    return time.monotonic() - begun < PROOF_SECONDS


def create_disk(path: Path, size: int) -> Path:
    """Make an empty sparse disk image of size bytes. Raises Refused if the file exists."""
    try:
        with path.open("xb") as file:
            file.truncate(size)
    except FileExistsError:
        raise Refused(f"cannot make disk '{path}': it exists", hint="remove it, or name another file") from None
    except OSError as error:
        raise Failed(f"cannot make disk '{path}': {error.strerror}") from error
    return path
