"""The EFI system partition (ESP) of a restored disk: how the firmware of this machine finds the boot loader on it.

Firmware starts what its boot entries name, and these stay behind in the source machine. Of a disk that no entry names
it starts \\EFI\\BOOT\\BOOTX64.EFI on an ESP, if it is there (UEFI 2.10, 3.5.1.1).
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.devices import blockdev
from lvpack_agent.errors import Ended, LvpackError, Refused
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.machine import efi_boot, firmware
from lvpack_agent.machine.efi_entries import Loader, astray, esps
from lvpack_agent.probe.open import mapped
from lvpack_agent.processes import run
from lvpack_agent.session import Session
from lvpack_agent.undo import Undo

_FALLBACK = Path("EFI/BOOT/BOOTX64.EFI")
# Under these names systems put what shall be started first; shim also under Secure Boot, so it comes before GRUB.
_KNOWN = ("shimx64.efi", "shim.efi", "grubx64.efi", "grub.efi", "systemd-bootx64.efi")
# Programs that shim, under the name of the fallback, starts if they are beside it. They make boot entries, and some
# then restart the machine: one that loses its entries would restart at each boot. Without them shim starts GRUB.
_MAKERS = ("fb", "fallback")

_BY_HAND = "RESTORE.txt in the image set says how to make one by hand; lvpack.efi=fallback needs none"


def refuse_astray(manifest: Manifest, name: str, how: str) -> None:
    """Raise Refused if a boot entry of a set, by its name, leads out of its partition; not if lvpack.efi (how) is none.

    That nothing starts what is outside is known before the first write.
    """
    for loader in manifest.boot if how != "none" else ():
        if cause := astray(loader.path):
            raise Refused(
                f"cannot restore image set '{name}': its boot entry {loader.title!a} starts {loader.path!a}: {cause}",
                hint="somebody has changed the set, or its source had such an entry; lvpack.efi=none restores all else "
                "and makes no boot entry",
            )


def make_bootable(
    disk: str, manifest: Manifest, table: PartitionTable | None, how: str, session: Session, folder: Path
) -> None:
    """Do what lvpack.efi says (how), so that firmware finds the boot loader on a disk that was restored and verified.

    disk is the path of the manifest's boot_disk, table its partition table. What fails becomes a warning, for the data
    is there. folder is where partitions are mounted meanwhile.
    """
    entry, fallback = how in ("entry", "both"), how in ("fallback", "both")
    here, there = firmware.firmware().uefi, manifest.machine.get("firmware", "").startswith("UEFI")
    numbers = dict.fromkeys([loader.partition for loader in manifest.boot] + (esps(table) if table else []))
    if table is None or not numbers:
        if fallback or (entry and here and there):
            session.warn(f"disk '{disk}' has no EFI system partition: UEFI firmware will not boot it")
        return
    if entry and not here:
        if there and not fallback:
            session.warn(f"no boot entry is made: this machine booted by BIOS, the source by UEFI; {_BY_HAND}")
        entry = False
    if not entry and not fallback:
        return
    with _or_warn(session, f"cannot look for boot loaders on '{disk}'"), Undo() as undo:
        _, _, devices = mapped(disk, "esp", undo)
        for number in sorted(numbers.keys() - devices.keys()):
            session.warn(f"disk '{disk}' has no partition {number}, which a boot entry of the source names")
        roots = {n: _mounted(devices[n], folder / str(n), undo, writable=fallback) for n in numbers if n in devices}
        found = [x for x in manifest.boot if x.partition in roots and _is_there(roots[x.partition], x, session)]
        found = found or [loader for n, root in roots.items() for loader in known(root, n)]
        if not found:
            which = ", ".join(map(str, numbers))
            session.warn(
                f"partition {which} of '{disk}' has no boot loader that is known: UEFI firmware may not boot it"
            )
        elif fallback:
            with _or_warn(session, f"cannot copy a boot loader to {_FALLBACK}"):
                session.say(put_fallback(roots[found[0].partition], found[0]))
        for loader in reversed(found if entry else []):
            with _or_warn(session, f"cannot make a boot entry for {loader}", _BY_HAND):
                session.say(f"the firmware boots {efi_boot.put_first(disk, table, loader)} first: {loader}")
    if fallback:
        with _or_warn(session, f"cannot flush '{disk}'"):
            blockdev.flush(disk)


@contextmanager
def _or_warn(session: Session, what: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except Ended:
        raise
    except Exception as error:  # whatever the set and the ESP hold: the data is there
        cause = error.message if isinstance(error, LvpackError) else getattr(error, "strerror", None) or repr(error)
        session.warn(f"{what}: {cause}" + (f"; {hint}" if hint else ""))


def _mounted(device: str, folder: Path, undo: Undo, *, writable: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "vfat", "-o", f"{'rw' if writable else 'ro'},nosuid,nodev,noexec", device, folder])
    undo.callback(run, ["umount", folder])
    return folder


def _file(root: Path, loader: Loader) -> Path:
    return root.joinpath(*loader.path.split("\\"))


def _is_there(root: Path, loader: Loader, session: Session) -> bool:
    """Return whether a loader is a file on its mounted partition; warn of what is there instead, such as a link."""
    if cause := astray(loader.path):
        session.warn(f"boot entry {loader.title!a} is left out: {cause}")
        return False
    try:
        os.close(guarded.opened(_file(root, loader), top=root))
    except FileNotFoundError:
        return False
    except OSError as error:
        session.warn(f"boot entry {loader.title!a} is left out: {loader}: {error.strerror}")
        return False
    return True


def known(root: Path, partition: int) -> list[Loader]:
    """Return the loaders on a mounted ESP, one for each system, the one written last first.

    partition is the number of the ESP. The fallback counts only if there is no other loader.
    """
    found = []
    for folder in (path for path in (root / "EFI").glob("*/") if not path.is_symlink()):
        files = {path.name.lower(): path for path in folder.iterdir() if is_own_file(path)}
        if folder.name.upper() != "BOOT" and (names := [name for name in _KNOWN if name in files]):
            found.append(files[names[0]])
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    if not found and (root / _FALLBACK).is_file():
        found = [root / _FALLBACK]
    return [
        Loader(
            # What firmware calls an entry that it makes for the fallback.
            title="UEFI OS" if path == root / _FALLBACK else path.parent.name,
            partition=partition,
            path="".join(f"\\{part}" for part in path.relative_to(root).parts),
        )
        for path in found
    ]


def put_fallback(root: Path, loader: Loader) -> str:
    """Copy a loader of a mounted ESP to the name of the fallback, with the programs beside it; return what was done.

    shim needs GRUB beside it. Files that exist stay as they are. Raises OSError, and then leaves no new file behind.
    """
    source, target = _file(root, loader), root / _FALLBACK
    if target.exists():
        return f"partition {loader.partition} has {_FALLBACK} already: it stays as it is"
    beside = [path for path in source.parent.glob("*") if path.suffix.lower() == ".efi" and path != source]
    beside = [path for path in beside if not path.name.lower().startswith(_MAKERS) and is_own_file(path)]
    copies = {path: target.with_name(path.name) for path in sorted(beside)} | {source: target}
    with Undo() as made:
        for old, new in copies.items():
            if not os.path.lexists(new):
                made.callback(new.unlink, missing_ok=True)
                _copy(old, new, root)
        made.pop_all()
    also = f", with {', '.join(path.name for path in sorted(beside))} beside it" if beside else ""
    return f"copied {loader} to {_FALLBACK}{also}"


def is_own_file(path: Path) -> bool:
    """Return whether a path is that of a regular file, and no link to one."""
    return path.is_file() and not path.is_symlink()


def _copy(old: Path, new: Path, root: Path) -> None:
    with (
        os.fdopen(guarded.opened(old, top=root), "rb") as source,
        os.fdopen(guarded.create(new, top=root), "wb") as file,
    ):
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
