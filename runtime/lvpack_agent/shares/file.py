"""Shares on a disk or stick of this machine: file://LABEL/PATH.

Tested in guests, with real filesystems: qemu-tests/tests/test_shares.py.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.devices import lsblk, reading
from lvpack_agent.devices.lsblk import AUTO, BlockDevice
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.printable import quoted
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.shares.share import Access, Mount
from lvpack_agent.shares.url import ShareUrl
from lvpack_agent.sizes import GIB
from lvpack_agent.undo import Undo

BY_ID = Path("/dev/disk/by-id")
# A stick may take its time to be known after a boot.
FIND_SECONDS, POLL_SECONDS = 20.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filesystem:
    """How a filesystem is mounted, how many bytes a file of it can have, and why it can keep no journal."""

    options: str = ""
    largest: int | None = None
    no_journal: str = ""


_FAT = "a power cut may leave its filesystem, {}, with neither the old file nor the new one"
# No journal in FAT and exFAT: a rename is several writes, in no order. FAT32 has 32 bits for a size (Microsoft FAT
# specification, DIR_FileSize). flush and tz: mount(8) and Documentation/filesystems/vfat.rst.
FILESYSTEMS = {
    "vfat": _Filesystem(options=",umask=077,flush,tz=UTC,utf8=1", largest=4 * GIB - 1, no_journal=_FAT.format("FAT")),
    "exfat": _Filesystem(options=",umask=077", no_journal=_FAT.format("exFAT")),
    "ext2": _Filesystem(no_journal=_FAT.format("ext2")),
    "ext3": _Filesystem(),
    "ext4": _Filesystem(),
    "xfs": _Filesystem(),
}


def mount(url: ShareUrl, folder: Path, access: Access) -> Mount:
    """Mount the filesystem that a URL names, and show the folder of its path.

    Raises Refused if there is none, or more than one, of that name, or if its disk is packed or restored to.
    """
    disks, device = found(url)
    [disk] = lsblk.holding(disks, device.path)
    _refuse_own(url, disk, disks, access)
    kind = FILESYSTEMS[device.fstype]
    whole = folder.with_name(f"{folder.name}-disk")
    whole.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        options = f"{reading.unwritten(device, undo) if access.read_only else 'rw'},nosuid,nodev,noexec{kind.options}"
        try:
            run(["mount", "-t", device.fstype, "-o", options, device.path, whole])
        except ToolFailed as failed:
            said = quoted(failed.completed.stderr.strip().splitlines()[-1:])
            raise Failed(
                f"cannot mount share '{url}' ({device.path}): {said}",
                hint="is the disk sound, and not write-protected? dmesg may say more; its filesystem can be checked in "
                "a shell (lvpack.action=shell)",
            ) from None
        try:
            _show(url, whole, folder)
        finally:
            run(["umount", "-l", whole])  # it stays where it is shown
        until_closed = undo.pop_all()
    return Mount(
        close=until_closed.close,
        how=f"{device.fstype} on {device.path} of disk {disk.describe()}",
        is_remote=False,
        device=device.path,
        largest=kind.largest,
        no_journal=kind.no_journal,
    )


def _show(url: ShareUrl, whole: Path, folder: Path) -> None:
    """Show the folder of a URL's path, of a mounted filesystem, at another place."""
    path = whole
    for part in filter(None, url.path.split("/")):
        path = path / part
        if path.is_symlink() or not path.is_dir():
            raise Failed(
                f"cannot mount share '{url}': there is no folder '{url.path.strip('/')}' on that filesystem",
                hint="make it there, or correct the URL",
            )
    run(["mount", "--bind", path, folder])


def found(url: ShareUrl) -> tuple[tuple[BlockDevice, ...], BlockDevice]:
    """Return all disks, and the one disk or partition that a URL names by label, UUID or a name in /dev/disk/by-id.

    Raises Refused if there is none in time, or more than one.
    """
    deadline = time.monotonic() + FIND_SECONDS
    while True:
        disks = lsblk.read()
        if devices := named(disks, url.host):
            break
        if time.monotonic() > deadline:
            raise Refused(
                f"cannot find share '{url}': no disk or partition has '{url.host}' as label, UUID or name in {BY_ID}",
                hint=f"there are {_known(disks)}",
            )
        time.sleep(POLL_SECONDS)
    if len(devices) > 1:
        raise Refused(
            f"cannot choose share '{url}': {' and '.join(d.path for d in devices)} are called so",
            hint=f"name it by its UUID, or take one away; there are {_known(disks)}",
        )
    [device] = devices
    if device.fstype not in FILESYSTEMS:
        raise Refused(
            f"cannot use share '{url}': {device.path} holds {device.fstype or 'no filesystem'}",
            hint=f"a share is on {', '.join(FILESYSTEMS)}",
        )
    return disks, device


def named(disks: tuple[BlockDevice, ...], name: str) -> tuple[BlockDevice, ...]:
    """Return the disks and partitions that have a name as label, UUID or link in /dev/disk/by-id."""
    link = BY_ID / name
    path = str(link.resolve()) if link.is_symlink() else ""
    every = [device for disk in disks for device in (disk, *disk.parts)]
    # A boot medium's partitions show what the whole of it shows.
    return tuple(d for d in every if (path and d.path == path) or (d.fstype and name in (d.label, d.uuid)))


def _refuse_own(url: ShareUrl, disk: BlockDevice, disks: tuple[BlockDevice, ...], access: Access) -> None:
    """Raise Refused if a share is on a disk that is packed or restored to. It is not mounted yet."""
    pv = next((device.path for device in (disk, *disk.parts) if device.fstype == PV_TYPE), "")
    what = ""
    if access.disks != AUTO and disk in lsblk.select(disks, access.disks):
        what = "lvpack.disk= names it"
    elif pv and not access.read_only:
        what = f"{pv} on it is a PV"
    if what:
        raise Refused(
            f"cannot use share '{url}': it is on disk {disk.describe()}, and {what}",
            hint="a share is on a disk that is neither packed nor restored to",
        )


def _known(disks: tuple[BlockDevice, ...]) -> str:
    every = [device for disk in disks for device in (disk, *disk.parts) if device.fstype in FILESYSTEMS]
    shown = [f"{d.path} ({d.fstype}, label '{d.label}', UUID {d.uuid})" for d in every]
    return "; ".join(shown) or "no filesystems that can be a share"
