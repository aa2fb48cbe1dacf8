"""Virtual machines: a value that becomes a QEMU command line."""

import os
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.machine import resultport
from lvpack_agent.processes import run
from lvpack_builder.boot.menus import kernel_arguments, kernel_word
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab.nics import Nic, Uplink
from lvpack_builder.lab.uefi import UEFI, UEFI_SECURE
from lvpack_builder.paths import cache_dir, locked

TCG = "tcg,thread=multi"
PROOF_SECONDS = 15.0
PROOF_MEMORY = 512

# A vendor that is not affected by Meltdown avoids page-table isolation; a model without AVX keeps programs from code
# paths that are slow to emulate (zstd -3: 33 MB/s, "max": 28 MB/s). Without SSSE3 and SSE 4 OpenSSL hashes by ordinary
# instructions, which QEMU 7.2 translates, instead of vectors, which it interprets: SHA-256 at 113 MB/s, not 56.
# rdrand: randomness from the start. When it comes later, the kernel patches its own code while both processors run it,
# and emulation does not always get that right.
EMULATED_CPU = "Nehalem,vendor=AuthenticAMD,+rdrand,-ssse3,-sse4.1,-sse4.2"

# No mitigations: page-table isolation makes an emulated guest about 1.5 times slower. no_timer_check avoids a
# rare panic of emulated guests on a loaded host. So does tsc=reliable: else the kernel compares the TSC with other
# clocks, finds it wanting when the host is late, and patches its own scheduler while both processors run that. But a
# TSC whose frequency was taken wrongly at boot, on a host that was late just then, lets time fly (a guest was seen to
# live 236 s in 42, and to give up waiting for DHCP): so time is read from the HPET, at 2.8 us a time instead of 1.3.
EMULATED_ARGUMENTS = ("mitigations=off", "no_timer_check", "tsc=reliable", "clocksource=hpet")
# A guest whose kernel panics ends at once, and with it the wait for its result.
GUEST_ARGUMENTS = ("panic=-1",)

# QEMU's own first one.
MAC = "52:54:00:12:34:56"

# Bytes of a sector of most disks.
SECTOR = 512


def node(number: int) -> str:
    """Return what a guest calls its drive of that number, from 0 on."""
    return f"/dev/vd{chr(ord('a') + number)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk image of a guest; with temporary, writes are dropped at its end; read_only, the guest sees it so.

    nbd: path is the Unix socket of an NBD server that has the image. sector_size in bytes, 512 or 4096 (4Kn).
    log: an empty file for every write to a raw image, in its order (QEMU's blklogwrites). unreadable and unwritable:
    sectors of a raw image that give an I/O error (QEMU's blkdebug).
    """

    path: Path
    format: str = "raw"
    nbd: bool = False
    temporary: bool = False
    read_only: bool = False
    serial: str = ""
    sector_size: int = SECTOR
    log: Path | None = None
    unreadable: tuple[int, ...] = ()
    unwritable: tuple[int, ...] = ()

    def options(self) -> str:
        """Return the value of -drive, but for its id."""
        where = "file.driver=nbd,file.server.type=unix,file.server.path" if self.nbd else "file"
        logged = [f"file.driver=blklogwrites,file.log.filename={_escaped(self.log)}"] if self.log else []
        where = "file.file.filename" if self.log else where
        if self.unreadable or self.unwritable:
            logged = ["file.driver=blkdebug", "file.image.driver=file"]
            where = "file.image.filename"
            faults = [("read", s) for s in self.unreadable] + [("write", s) for s in self.unwritable]
            for number, (kind, sector) in enumerate(faults):
                fault = f"file.inject-error.{number}"
                logged += [f"{fault}.event=none", f"{fault}.iotype={kind}", f"{fault}.errno=5"]
                logged += [f"{fault}.sector={sector}"]
        words = [*logged, f"{where}={_escaped(self.path)}", f"format={self.format}", "if=none"]
        # writeback: a flush of the guest reaches the image file, so a kill of QEMU is a power cut and no worse.
        words += ["cache=writeback", "discard=unmap"]
        # QEMU would let a guest stand still whose disk has no room, until somebody makes some.
        words += ["werror=report"] if self.nbd else []
        words += ["snapshot=on"] if self.temporary else []
        words += ["readonly=on"] if self.read_only else []
        return ",".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A virtual machine; memory in MiB. It boots kernel and initrd, else ISO, else network, else its first disk.

    nvram: a file of UEFI variables (see lab/uefi.py); None: the firmware is a BIOS. secure: Secure Boot is enforced.
    usb: the ISO is a USB stick. kit: a folder to netboot from, by QEMU's TFTP server, boot_file being in it.
    cpus: with more than one, an emulated kernel panics now and then on a busy host: it changes its own code as it runs,
    and the other processor was seen to run into a change that is half made ("Oops: int3"). Several guests at a time
    keep the processors of the host busy as well.
    isolated: the network gives an address by DHCP and leads nowhere. second_console: a file that gets what the
    guest says on its second serial port. nics: its network cards, instead of the one of network. monitor: a Unix
    socket on which QEMU takes commands (lvpack_builder.lab.monitor).
    forks: the guest may be saved and go on in many machines; in each the kernel learns of it and gets randomness of its
    own. saved: a file with such a guest, to go on with it instead of booting; it was saved without drives, and finds
    them when it looks for new PCI devices. reports: it has the port by which the agent gives its result.
    devices: further ones, as QEMU's -device has them. secrets: names and files that the agent finds by QEMU's fw_cfg.
    """

    drives: tuple[Drive, ...] = ()
    memory: int = 1024
    cpus: int = 1
    kernel: Path | None = None
    initrd: Path | None = None
    arguments: tuple[str, ...] = ()
    iso: Path | None = None
    usb: bool = False
    kit: Path | None = None
    boot_file: str = ""
    nvram: Path | None = None
    secure: bool = False
    folders: tuple[tuple[str, Path], ...] = ()
    network: bool = True
    isolated: bool = False
    second_console: Path | None = None
    nics: tuple[Nic | Uplink, ...] = ()
    monitor: Path | None = None
    reboot: bool = False
    forks: bool = False
    saved: Path | None = None
    reports: bool = False
    devices: tuple[str, ...] = ()
    secrets: tuple[tuple[str, Path], ...] = ()

    def command(self, accelerator: str, result: Path = Path(os.devnull)) -> list[str]:
        """Return the QEMU command line; the serial console is on standard input and output.

        result: the file that gets what is written into the port of a machine that reports.
        """
        words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio"]
        words += ["-accel", accelerator, "-smp", str(self.cpus), "-m", str(self.memory), *self._board()]
        words += ["-cpu", "host" if accelerator.startswith("kvm") else EMULATED_CPU]
        words += ["-serial", f"file:{_escaped(self.second_console)}"] if self.second_console else []
        # PCI slots go by this order, and what was there when a guest was saved must stay in its slot.
        fixed = self._fixed_devices()
        if self.reports:
            fixed += ["-chardev", f"file,id=result,path={_escaped(result)}", "-device", "virtio-serial-pci"]
            fixed += ["-device", f"virtserialport,chardev=result,name={resultport.NAME}"]
        words += [*fixed, *self._disks()] if self.forks else [*self._disks(), *fixed]
        words += ["-device", "vmgenid,guid=auto"] if self.forks else []
        words += ["-incoming", f"exec:cat {shlex.quote(str(self.saved))}"] if self.saved else []
        if self.kernel:
            words += ["-kernel", str(self.kernel), "-append", self.kernel_line(accelerator)]
            words += ["-initrd", str(self.initrd)] if self.initrd else []
        elif self.iso:
            words += ["-drive", f"file={_escaped(self.iso)},format=raw,if=none,id=iso,readonly=on"]
            if self.usb:
                words += ["-device", "usb-storage,drive=iso,bootindex=0"]
            else:
                # SeaBIOS reads from IDE word by word, 1 MB/s under emulation, from AHCI by DMA; q35 has AHCI itself.
                words += [] if self.nvram else ["-device", "ich9-ahci,id=ahci"]
                words += ["-device", f"ide-cd,{'' if self.nvram else 'bus=ahci.0,'}drive=iso,bootindex=0"]
        words += [] if self.reboot else ["-no-reboot"]
        return words

    def kernel_line(self, accelerator: str) -> str:
        """Return the command line of its kernel, if that is given."""
        append = kernel_arguments((*guest_arguments(accelerator), *self.arguments))
        return " ".join(kernel_word(w) for w in append)

    def _disks(self) -> list[str]:
        words = []
        for number, drive in enumerate(self.drives):
            words += ["-drive", f"{drive.options()},id=d{number}"]
            serial = f",serial={drive.serial}" if drive.serial else ""
            # After CD or network, at 0, the disks are booted in their order, also when the guest starts again.
            size = drive.sector_size
            sectors = "" if size == SECTOR else f",logical_block_size={size},physical_block_size={size}"
            words += ["-device", f"virtio-blk-pci,drive=d{number},bootindex={number + 1}{serial}{sectors}"]
        return words

    def _fixed_devices(self) -> list[str]:
        words = [word for number, nic in enumerate(self._nics()) for word in nic.words(number)]
        words += ["-qmp", f"unix:{_escaped(self.monitor)},server=on,wait=off"] if self.monitor else []
        words += [word for device in self.devices for word in ("-device", device)]
        for name, file in self.secrets:
            words += ["-fw_cfg", f"name=opt/org.lvpack/{name},file={_escaped(file)}"]
        for tag, folder in self.folders:
            words += ["-virtfs", f"local,path={_escaped(folder)},mount_tag={tag},security_model=none"]
        return words

    def _nics(self) -> tuple[Nic | Uplink, ...]:
        if self.nics or not self.network:
            return self.nics
        tftp = f",tftp={_escaped(self.kit)},bootfile={self.boot_file}" if self.kit else ""
        netdev = "user" + (",restrict=on" if self.isolated else "") + tftp
        return (Nic(netdev=netdev, mac=MAC, boots=bool(self.kit), rom=bool(self.kit and not self.nvram)),)

    def _board(self) -> list[str]:
        words = ["-machine", ("q35" if self.nvram else "pc") + (",smm=on" if self.secure else "")]
        if self.nvram:
            words += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={UEFI_SECURE if self.secure else UEFI}"]
            words += ["-drive", f"if=pflash,unit=1,format=raw,file={_escaped(self.nvram)}"]
            # Only code in system management mode may write variables, else Secure Boot could be switched off.
            words += ["-global", "driver=cfi.pflash01,property=secure,value=on"] if self.secure else []
        return [*words, "-device", "qemu-xhci"] if self.usb else words


def guest_arguments(accelerator: str) -> tuple[str, ...]:
    """Return the kernel arguments that a guest needs beside those of its menu."""
    return (*GUEST_ARGUMENTS, *(EMULATED_ARGUMENTS if accelerator.startswith("tcg") else ()))


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # a comma ends an option of QEMU


def live(image: LiveImage, arguments: Sequence[str], **options: object) -> Machine:
    """Return a machine that boots the live image's kernel directly, and reports."""
    options = {"reports": True, **options}
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
    with locked("accelerator"):
        if not proof.exists():
            proof.write_text("kvm" if guest_runs(image, "kvm") else TCG)
    return proof.read_text()


def guest_runs(image: LiveImage, accelerator: str, deadline: float = PROOF_SECONDS) -> bool:
    """Boot the live image's kernel to a program that says a sum and switches off; deadline in seconds.

    That QEMU ends early proves nothing: it also does when the guest's processor gives up at its first instruction.
    """
    number = secrets.randbelow(1 << 30)
    # The kernel hands what follows "--" to the program that it starts first: busybox of the first stage.
    words = ("rdinit=/bin/busybox", "--", "sh", "-c", f"echo sum-$(({number}+1)); poweroff -f")
    machine = Machine(
        kernel=image.kernel, initrd=image.initrd, arguments=words, network=False, memory=PROOF_MEMORY, cpus=2
    )
    try:
        return f"sum-{number + 1}" in run(machine.command(accelerator), timeout=deadline).stdout
    except LvpackError:
        return False


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
