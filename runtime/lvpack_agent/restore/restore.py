"""lvpack.action=restore: an image set written to disks that are empty or may be overwritten, grown, then read again."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lvpack_agent.devices import blockdev, lsblk, sfdisk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.image import check, losses
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.network.up import Network
from lvpack_agent.probe.verify import verified
from lvpack_agent.processes import run
from lvpack_agent.restore import esp, grow, plan
from lvpack_agent.restore.choose import choose_targets, what_is_in_the_way, without_share
from lvpack_agent.restore.write import flush, opened, read_again, unusable_if_cut_off, write_disks, write_heads
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.shares.mounted import mounted
from lvpack_agent.shares.share import Access, Share
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import human
from lvpack_agent.undo import Undo


def restore(settings: Settings, network: Network, session: Session, access: Access, folder: Path) -> str:
    """Write an image set to its target disks, grow and verify them; return the closing message.

    folder is for mounts and small files.
    """
    with Undo() as undo:
        shared, manifest = _opened_set(settings, network, session, access, folder, undo)
        esp.refuse_astray(manifest, session.name, settings.efi)
        with session.phase("probe"):
            disks = without_share(lsblk.read(), shared.device)
            targets = choose_targets(
                disks, manifest, named=settings.disk, overwrite=settings.overwrite, say=session.say
            )
            session.disk = targets[0].path
            for disk in targets:
                session.say(f"target: {disk.describe()}")
            paths = [disk.path for disk in targets]
            blockdev.set_read_only(tuple(d for d in lsblk.read() if d.path not in paths), undo)
        growth = plan.planned(manifest, targets, settings.grow, session)
        # To the end: when a descriptor that may write is closed, udev reads the partition table, and partitions are
        # gone for a moment.
        held = undo.enter_context(opened(paths, paths))
        again = [f"/proc/self/fd/{fd}" for fd in held]
        # O_EXCL: fails while the disk is in use. The kernel zeroes and discards only for who has claimed it so
        # (block/bdev.c: truncate_bdev_range()); verifying has to be able to claim it as well.
        with opened(again, paths, os.O_EXCL) as fds, unusable_if_cut_off(held, paths, manifest), session.phase("write"):
            image_set = shared.folder / session.name
            written = write_disks(fds, image_set, manifest, targets, growth.places, session, shared.source)
            if growth.is_none:
                write_heads(written, targets)
            else:
                flush(written, targets)
        with unusable_if_cut_off(held, paths, manifest):
            with session.phase("verify"):
                if settings.readback:
                    read_again(written, paths, session)
                if growth.is_none:
                    _verify(manifest, targets, session)
            if not growth.is_none:
                with session.phase("grow"):
                    ends = grow.grow(growth, [target.head for target in written], folder / "grow", session)
                    grow.write_ends(held, ends, targets)
        with session.phase("boot"):
            boot = manifest.boot_disk
            table = growth.target.disks[boot].table
            esp.make_bootable(paths[boot], manifest, table, settings.efi, session, folder / "esp")
    where = f"disk{'s' if len(paths) > 1 else ''} {' and '.join(paths)}"
    how = "" if growth.is_none else f", grown as lvpack.grow={settings.grow} says"
    return f"restored image set {session.name} ({human(manifest.packed_size)}) to {where}{how}"


def only_plan(settings: Settings, network: Network, session: Session, access: Access, folder: Path) -> str:
    """Say what a restore would make of its target disks; return the closing message. folder is for mounts."""
    with Undo() as undo:
        shared, manifest = _opened_set(settings, network, session, access, folder, undo)
        esp.refuse_astray(manifest, session.name, settings.efi)
        with session.phase("probe"):
            disks = without_share(lsblk.read(), shared.device)
            targets = choose_targets(disks, manifest, named=settings.disk, overwrite=True, say=session.say)
            for disk in targets:
                if not settings.overwrite and (held := what_is_in_the_way(disk, manifest, session.say)):
                    session.warn(f"'{disk.path}' is not empty, it holds {held}: the restore needs lvpack.overwrite=yes")
        plan.planned(manifest, targets, settings.grow, session)
    return f"planned: image set {session.name} can be restored to {' and '.join(disk.path for disk in targets)}"


def _opened_set(
    settings: Settings, network: Network, session: Session, access: Access, folder: Path, undo: Undo
) -> tuple[Share, Manifest]:
    """Mount the share of lvpack.source until undo runs; return it and the set's manifest, checked as a whole."""
    with session.phase("share"):
        url, name = parse_url(settings.source).parent()
        shared = undo.enter_context(mounted(url, folder / "share", network, session, access))
        session.name = name
        image_set = shared.folder / name
        manifest = check.read_manifest(
            image_set,
            lambda cause: session.warn(f"image set '{name}' is damaged: {cause}; a restore does not need that"),
            shared.source,
        )
        check.check_files(image_set, manifest, shared.source)
        if missing := losses.summary(manifest.unreadable):
            session.warn(missing)
        return shared, manifest


def _verify(manifest: Manifest, targets: Sequence[BlockDevice], session: Session) -> None:
    """Put backup GPTs in their places, and probe the disks: they must be what the manifest says, and pass e2fsck."""
    restored = []
    for packed, disk in zip(manifest.packed.disks, targets, strict=True):
        if packed.table and packed.table.label == "gpt" and disk.size > packed.size:
            sfdisk.move_backup_gpt(disk.path)
        restored.append(replace(packed, path=disk.path, size=disk.size))
    with verified([disk.path for disk in restored], replace(manifest.packed, disks=tuple(restored)), session.say):
        pass
    for disk in targets:
        run(["blockdev", "--flushbufs", disk.path])
