"""`lvpack run`: the live image in a virtual machine, its share a folder of this machine."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
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


def run_image(
    image: LiveImage,
    drives: Sequence[Drive],
    arguments: Sequence[str],
    *,
    share: Path | None = None,
    firmware: str = "bios",
    boot: str = "direct",
    memory: int = 1024,
    cpus: int = 1,
    transcript: Path | None = None,
    echo: bool = False,
    deadline: float = 3600,
    read_only: bool = False,
    nfs: int = 4,
    nvram: Path | None = None,
) -> Report:
    """Run the live image to its result and switch-off; return the result.

    firmware is bios, uefi, or secure: UEFI with Secure Boot enforced. boot is direct, or one of iso, usb and pxe: then
    by the built ISO or netboot kit as it is, or, with arguments or a share, by one like it with these in its menu.
    memory in MiB, deadline in seconds, nfs the version that the share is served by (4 or 3). nvram: the machine's file
    of UEFI variables; without it they are those of a new machine.
    Raises Failed if no result comes in time.
    """
    with ExitStack() as undo:
        served = undo.enter_context(nfs_share(share, version=nfs, read_only=read_only)) if share else None
        words = shared_arguments(arguments, served)
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=cache_dir())))
        machine = Machine(drives=tuple(drives), memory=memory, cpus=cpus)
        if firmware != "bios":
            secure = firmware == "secure"
            nvram = nvram or new_nvram(scratch / "nvram", secure=secure)
            machine = replace(machine, nvram=nvram, secure=secure)
        machine = _booting(machine, image, boot, words if arguments or served else None, scratch)
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


def copied_kit(image: LiveImage, arguments: Sequence[str], folder: Path) -> Path:
    """Make a netboot kit like that of an image, with other arguments in its menus, and return its folder."""
    folder.mkdir()
    for file in (image.kernel, image.initrd):
        shutil.copy(file, folder)
    _copied_iso(image, arguments, folder)
    netboot.write_kit(folder, arguments)
    return folder
