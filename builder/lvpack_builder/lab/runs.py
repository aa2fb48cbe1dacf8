"""`lvpack run`: the live image in a virtual machine, its share a folder of this machine."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.report import Report
from lvpack_agent.settings.table import PREFIX
from lvpack_builder.boot import netboot
from lvpack_builder.boot.iso import write_iso
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab.console import running
from lvpack_builder.lab.nfs import Share, nfs_share
from lvpack_builder.lab.qemu import Drive, Machine, accelerator, guest_arguments
from lvpack_builder.lab.uefi import new_nvram
from lvpack_builder.paths import cache_dir
from lvpack_builder.reproducible import dated

URLS = {f"{PREFIX}target", f"{PREFIX}source", f"{PREFIX}config"}


def shared_arguments(arguments: Sequence[str], share: Share | None) -> list[str]:
    """Return the arguments with share paths made URLs: NAME in lvpack.source=NAME is a set on the share.

    With a share and no lvpack.target, the share is the target. A run ends by itself unless lvpack.onerror is given.
    """
    words = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if key in URLS and share and equals and "://" not in value:
            value = f"{share.url}/{value}".rstrip("/")
        words.append(f"{key}{equals}{value}")
    keys = {word.partition("=")[0] for word in words}
    if share and f"{PREFIX}target" not in keys:
        words.append(f"{PREFIX}target={share.url}")
    if f"{PREFIX}onerror" not in keys:
        words.append(f"{PREFIX}onerror=poweroff")
    return words


def drive(path: Path, *, temporary: bool = False) -> Drive:
    """Return a disk image file as a drive; its format is told by its name. Raises Refused if it is missing."""
    if not path.is_file() and not path.is_block_device():
        raise Refused(f"cannot use disk '{path}': there is no such file", hint="make one with: truncate -s 8G FILE")
    return Drive(path=path, format="qcow2" if path.suffix == ".qcow2" else "raw", temporary=temporary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computer:
    """The machine that a live image is run on; memory in MiB.

    firmware is bios, uefi, or secure: UEFI with Secure Boot enforced. boot is direct, or one of iso, usb and pxe: then
    by the built ISO or netboot kit as it is, or, with arguments or a share, by one like it with these in its menu.
    nvram is the machine's file of UEFI variables; without it they are those of a new machine. secrets: as Machine has
    them.
    """

    drives: Sequence[Drive]
    firmware: str = "bios"
    boot: str = "direct"
    memory: int = 1024
    cpus: int = 1
    nvram: Path | None = None
    secrets: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFolder:
    """A folder of this machine that is served as the share, by version 4 or 3 of NFS."""

    folder: Path
    nfs: int = 4
    read_only: bool = False


def served_folder(share: SharedFolder) -> AbstractContextManager[Share]:
    """Serve a folder while the context lasts."""
    return nfs_share(share.folder, version=share.nfs, read_only=share.read_only)


def run_image(
    image: LiveImage,
    computer: Computer,
    arguments: Sequence[str],
    *,
    share: SharedFolder | None = None,
    transcript: Path | None = None,
    echo: bool = False,
    deadline: float = 3600,
) -> Report:
    """Run the live image to its result and switch-off; return the result.

    Its console goes to the file transcript, and with echo to this terminal. Raises Failed if no result comes in
    deadline seconds.
    """
    with ExitStack() as undo:
        served = undo.enter_context(served_folder(share)) if share else None
        words = shared_arguments(arguments, served)
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=cache_dir())))
        machine = Machine(
            drives=tuple(computer.drives),
            memory=computer.memory,
            cpus=computer.cpus,
            secrets=computer.secrets,
            reports=True,
        )
        if computer.firmware != "bios":
            secure = computer.firmware == "secure"
            nvram = computer.nvram or new_nvram(scratch / "nvram", secure=secure)
            machine = replace(machine, nvram=nvram, secure=secure)
        machine = _booting(machine, image, computer.boot, words if arguments or served else None, scratch)
        log = transcript or cache_dir() / "run.log"
        console = undo.enter_context(running(machine, accelerator(image), log, echo=echo))
        report = console.result(deadline)
        follows = [w.partition("=")[2] for w in words if w.startswith((f"{PREFIX}onerror=", f"{PREFIX}after="))]
        if "shell" in follows or "halt" in follows:
            return report
        try:
            console.wait(120)
        except Exception as error:
            raise Failed("cannot end the run: the machine does not switch itself off", hint=f"see {log}") from error
        return report


def _booting(machine: Machine, image: LiveImage, boot: str, arguments: Sequence[str] | None, scratch: Path) -> Machine:
    """Return a machine that boots the live image in some way; given arguments, by an ISO or a kit made in scratch."""
    if boot == "direct":
        return replace(machine, kernel=image.kernel, initrd=image.initrd, arguments=tuple(arguments or ()))
    words = None if arguments is None else (*guest_arguments(accelerator(image)), *arguments)
    if boot == "pxe":
        kit = image.kit if words is None else copied_kit(image, words, scratch / "kit")
        return replace(machine, kit=kit, boot_file=netboot.BOOT_FILES["uefi" if machine.nvram else "bios"])
    iso = image.iso if words is None else _copied_iso(image, words, scratch)
    return replace(machine, iso=iso, usb=boot == "usb")


def _copied_iso(image: LiveImage, arguments: Sequence[str], folder: Path) -> Path:
    with dated(int(image.kernel.stat().st_mtime)):
        write_iso(image.kernel, image.initrd, arguments, folder / image.iso.name)
    return folder / image.iso.name


def copied_kit(image: LiveImage, arguments: Sequence[str], folder: Path, hosts: Sequence[netboot.Host] = ()) -> Path:
    """Make a netboot kit like that of an image, with other arguments in its menus, and return its folder."""
    folder.mkdir()
    for file in (image.kernel, image.initrd):
        shutil.copy(file, folder)
    _copied_iso(image, arguments, folder)
    netboot.write_kit(folder, arguments, hosts)
    return folder
