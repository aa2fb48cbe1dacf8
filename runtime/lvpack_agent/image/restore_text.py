"""RESTORE.txt: how a set is restored by hand."""

import shlex
import textwrap

from lvpack_agent.image import losses
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.machine import efi_boot
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.plan.grow_contents import has_single_group
from lvpack_agent.plan.values import LEAVE_OUT
from lvpack_agent.printable import printable
from lvpack_agent.sizes import human


def restore_text(manifest: Manifest) -> str:
    """Return RESTORE.txt: how to restore by hand. People show it on terminals: what does not print is escaped."""
    return "\n".join(map(printable, _text(manifest).split("\n")))


def _text(manifest: Manifest) -> str:
    several = len(manifest.images) > 1
    # No kernel has such a device: nobody can paste a line of several disks unread.
    devices = [f"/dev/TARGET{n}" if several else "/dev/sdX" for n in range(len(manifest.images))]
    parts = tuple(zip(manifest.images, manifest.packed.disks, devices, strict=True))
    opener = {"zstd": "zstd -dc", "gzip": "gzip -dc", "none": "cat"}[manifest.compression.method]
    commands = [f"   {opener} {image.image} | dd of={device} bs=4M conv=fsync\n" for image, _, device in parts]
    commands += [
        f"   sfdisk --relocate gpt-bak-std {device}   # the disk is bigger: put its backup GPT at its end\n"
        for _, disk, device in parts
        if disk.table and disk.table.label == "gpt"
    ]
    bmaps = [f"   bmaptool copy --bmap {image.bmap} {image.image} {device}\n" for image, _, device in parts]
    with_disks = " lvpack.disk=TARGET0 …, the disks in this order" if several else ""
    return (
        f"{manifest.name}: {f'{len(parts)} disks' if several else 'a disk'} packed by lvpack {manifest.lvpack} on "
        f"{manifest.created}\n\n"
        f"{_missing(manifest)}{_needs_text(manifest)}"
        "   sha256sum -c SHA256SUMS\n"
        f"{''.join(commands)}\n"
        f"bmaptool writes only what holds data:\n\n{''.join(bmaps)}\n"
        f"{_boot_text(manifest.boot, devices[manifest.boot_disk])}"
        "With lvpack: boot its image with lvpack.action=restore lvpack.source=URL-OF-THIS-FOLDER"
        f"{with_disks}\n\n"
        f"{_left_out(manifest)}"
        "lvpack gives LVs, filesystems and swap the sizes back that they had (lvpack.grow). Restored by hand, swap is\n"
        "small, and filesystems have little free space. To grow them by hand: enlarge the PV's partition, then\n"
        "pvresize, lvextend --resizefs, mkswap with the same UUID. layout/ has what the source was.\n"
        f"{_single_groups(manifest)}"
    )


def _single_groups(manifest: Manifest) -> str:
    """Return what is to be known of each XFS with a single allocation group, for people; "" if there is none."""
    lines = [
        f"   LV {new.name}, with groups of {human(new.content.group)}\n"
        for old, new in manifest.plan.lvs()
        if has_single_group(new.content, old.content)
    ]
    if not lines:
        return ""
    return (
        "\nOn these LVs XFS has a single allocation group that is cut off. xfs_growfs makes it whole, and adds groups\n"
        f"of that size; until it does, xfs_repair wants -o force_geometry:\n\n{''.join(lines)}"
    )


def _missing(manifest: Manifest) -> str:
    """Return what of the source could not be read, for people; "" if all could."""
    text = losses.summary(manifest.unreadable)
    return f"{textwrap.fill(text, 116, break_on_hyphens=False)}.\n\n" if text else ""


def _needs_text(manifest: Manifest) -> str:
    needs = [
        f"{disk.size:,} bytes ({human(disk.size)}), sectors of {disk.sector_size} bytes"
        for disk in manifest.packed.disks
    ]
    if len(needs) == 1:
        return (
            f"The target needs at least {needs[0]},\nand everything on it will be lost. Boot any Linux on it, then:\n\n"
        )
    lines = [f"   /dev/TARGET{number}: {need}\n" for number, need in enumerate(needs)]
    return (
        f"The targets, which all have to be restored, need at least\n\n{''.join(lines)}\n"
        "and everything on them will be lost. Boot any Linux there, then, with the names of the disks:\n\n"
    )


def _boot_text(loaders: tuple[Loader, ...], device: str) -> str:
    if not loaders:
        return ""
    commands = [f"   {shlex.join(efi_boot.creating(device, loader))}\n" for loader in reversed(loaders)]
    return (
        "The source booted by UEFI. If the machine has no boot entry for the disk, boot that Linux by UEFI, too, and\n"
        f"make it:\n\n{''.join(commands)}\n"
        "Or do without one: copy that file, on its partition, to EFI/BOOT/BOOTX64.EFI, and the other .efi files\n"
        "beside it to EFI/BOOT, but those that begin with fb.\n\n"
    )


def _left_out(manifest: Manifest) -> str:
    """Return a list, for people, of what of the server is not in the image; "" if all of it is."""
    lines = [
        f"   {row.object}: {human(row.before - row.after)}, {row.reason}\n"
        for row in manifest.plan.rows
        if row.verb == LEAVE_OUT
    ]
    return "".join(["Not in this image:\n\n", *lines, "\n"]) if lines else ""
