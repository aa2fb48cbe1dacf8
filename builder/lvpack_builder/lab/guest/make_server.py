"""Runs in the live image: makes a server from a recipe on empty disks. Standard library only.

usage: make_server.py RECIPE.json DISK[,DISK…] [ROOT.tar]; without a system in it a recipe needs no tar and does not
boot. docs/building.md has what a recipe may say.
"""

import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

NEW = Path("/new")
# Stands in files that are deleted before the server is done; what an image leaves out, it must not have.
DELETED = b"<deleted, but its blocks still hold it>"


def run(*command: str, text: str | None = None) -> str:
    """Run a tool and return its output; its failure ends the script."""
    print("+", *command, flush=True)
    return subprocess.run(command, input=text, check=True, text=True, stdout=subprocess.PIPE).stdout


def partition_path(disk: str, number: int) -> str:
    return f"{disk}{'p' if disk[-1].isdigit() else ''}{number}"


def partition(recipe: dict[str, Any], disk: str) -> None:
    """Write the partition table of the recipe to its first disk, if it has one; the others are PVs as a whole."""
    if "label" not in recipe:
        return
    lines = [f"label: {recipe['label']}"]
    for row in recipe["partition"]:
        text = f"{row['number']} : start={row['start']}iB, type={row['type']}"
        text += f", size={row['size']}iB" if "size" in row else ""
        text += f', name="{row["name"]}"' if "name" in row else ""
        text += f', attrs="{row["attributes"]}"' if "attributes" in row else ""
        text += ", bootable" if row.get("bootable") else ""
        lines.append(text)
    run("sfdisk", "--quiet", disk, text="\n".join(lines) + "\n")
    run("udevadm", "settle")


def vgs_of(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    vgs = recipe["vg"]
    return vgs if isinstance(vgs, list) else [vgs]


def make_vgs(recipe: dict[str, Any], disks: list[str]) -> None:
    """Make the VGs and put each LV on just the extents that the recipe names."""
    first_vg = vgs_of(recipe)[0]["name"]
    for vg in vgs_of(recipe):
        places = [where.split(":") for where in vg.get("pvs") or [f"0:{recipe['partition'][-1]['number']}"]]
        pvs = [partition_path(disks[int(d)], int(p)) if int(p) else disks[int(d)] for d, p in places]
        for pv in pvs:
            run("pvcreate", "--yes", *vg.get("options", []), pv)
        run("vgcreate", "--physicalextentsize", vg["extent"], *tags(vg), vg["name"], *pvs)
        for lv in recipe["lv"]:
            if lv.get("vg", first_vg) == vg["name"]:
                make_lv(lv, vg["name"], pvs)


def tags(row: dict[str, Any]) -> list[str]:
    return [word for tag in row.get("tags", []) for word in ("--addtag", tag)]


def make_lv(lv: dict[str, Any], vg: str, pvs: list[str]) -> None:
    for number, extents in enumerate(lv["extents"]):
        areas, count = [], 0
        for area in extents.split("|"):
            pv, _, numbers = area.rpartition(":")
            first, last, step = (int(n) for n in re.split("[-/]", f"{numbers}/1")[:3])
            parts = [f"{n}-{n}" for n in range(first, last + 1, step)] if step > 1 else [f"{first}-{last}"]
            areas.append(":".join([pvs[int(pv or 0)], *parts]))
            count += len(parts) if step > 1 else last - first + 1
        stripes = ["--stripes", str(len(areas))] + (["--stripesize", lv["stripe"]] if len(areas) > 1 else [])
        if number == 0:
            new = ["--yes", "--wipesignatures", "y", *tags(lv), "-n", lv["name"]]
            run("lvcreate", *new, *stripes, "-l", str(count), vg, *areas)
        else:
            run("lvextend", *stripes, "-l", f"+{count}", f"{vg}/{lv['name']}", *areas)


def filesystems(recipe: dict[str, Any], disk: str) -> list[tuple[str, dict[str, Any]]]:
    """Make all filesystems and return (device, row), in mounting order."""
    first_vg = vgs_of(recipe)[0]["name"]
    rows = [(f"/dev/{lv.get('vg', first_vg)}/{lv['name']}", lv) for lv in recipe["lv"]]
    rows += [(partition_path(disk, p["number"]), p) for p in recipe.get("partition", []) if "filesystem" in p]
    for device, row in rows:
        kind = row["filesystem"]
        if kind == "swap":
            run("mkswap", "--label", "swap", device)
        elif kind == "vfat":
            run("busybox", "mkdosfs", "-n", "FAT", device)
        elif kind == "noise":
            with open(device, "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                file.write(os.urandom(size))
        else:
            run(f"mkfs.{kind}", "-q", "-f" if kind == "xfs" else "-F", *row.get("options", []), device)
    return sorted(rows, key=lambda pair: str(pair[1].get("mount", "~")))


def fstab(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Return fstab, all by UUID."""
    lines = []
    for device, row in rows:
        uuid = run("blkid", "-p", "-s", "UUID", "-o", "value", device).strip()
        if row["filesystem"] == "swap":
            lines.append(f"UUID={uuid} none swap sw 0 0")
        else:
            lines.append(f"UUID={uuid} {row['mount']} {row['filesystem']} defaults 0 {1 if row['mount'] == '/' else 2}")
    return "\n".join(lines) + "\n"


def acl(user: int, group: int) -> bytes:
    """Return an ACL that lets a user read and write and a group read (kernel: posix_acl_xattr.h)."""
    anybody = 0xFFFFFFFF
    entries = ((0x01, 6, anybody), (0x02, 6, user), (0x04, 4, anybody), (0x08, 4, group), (0x10, 6, anybody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (*entries, (0x20, 4, anybody)))


def make_files(root: Path, mounts: list[Path], amount: dict[str, int]) -> None:
    """Make what a restore could lose: links, holes, attributes, odd names, data of both kinds, and deleted data.

    amount: how many blobs of 1 MiB and tables of 2 MB, and MiB of deleted data on each of the mounts.
    """
    dice = random.Random(20)
    data = root / "var/lib/shop"
    data.mkdir(parents=True)
    for number in range(amount["blobs"]):
        (data / f"blob-{number}").write_bytes(dice.randbytes(1 << 20))
    for number in range(amount["tables"]):
        (data / f"table-{number}.csv").write_bytes(b"".join(b"%d;item;%d\n" % (i, i * number) for i in range(100000)))
    odd = root / "srv/odd"
    odd.mkdir(parents=True)
    (odd / ("n" * 255)).write_text("a long name\n")
    (odd / "tab\tnew\nline").write_text("white space\n")
    (odd / "grüße-文").write_text("not ASCII\n")
    with open(os.fsencode(odd) + b"/\xff\xfe", "wb") as file:
        file.write(b"not UTF-8\n")
    (odd / "hard-1").write_text("three names\n")
    for number in (2, 3):
        os.link(odd / "hard-1", odd / f"hard-{number}")
    os.symlink("hard-1", odd / "soft")
    os.symlink("/nowhere/" + "x" * 200, odd / "dangling")
    with (odd / "sparse").open("wb") as file:
        file.seek(100 << 20)
        file.write(b"end")
        file.truncate(200 << 20)
    os.mknod(odd / "null", 0o666 | 0o020000, os.makedev(1, 3))
    os.mknod(odd / "block", 0o600 | 0o060000, os.makedev(7, 99))
    os.mkfifo(odd / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(odd)  # a socket's path may have 107 bytes
        server.bind("socket")
        os.chdir("/")
    os.setxattr(odd / "hard-1", "user.note", b"kept \x00 whole")
    (odd / "acl").write_text("for user 1000\n")
    os.setxattr(odd / "acl", "system.posix_acl_access", acl(1000, 50))
    (odd / "setuid").write_text("#!/bin/true\n")
    os.chmod(odd / "setuid", 0o4711)
    os.chown(odd / "acl", 1234, 5678)
    os.utime(odd / "hard-1", ns=(1, 981173106_123456789))
    many = root / "srv/many"
    for number in range(1000):
        folder = many / f"{number % 20:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(b"%d\n" % number * (number % 97))
    for where in mounts:
        junk = where / "junk"
        with junk.open("wb") as file:
            for _ in range(amount["junk"]):
                file.write(DELETED + dice.randbytes((1 << 20) - len(DELETED)))
            os.fsync(file.fileno())
        # What comes after the junk stays far out when the junk goes.
        (where / "after-junk").write_bytes(dice.randbytes(8 << 20))
        os.sync()
        junk.unlink()


def configure(recipe: dict[str, Any], rows: list[tuple[str, dict[str, Any]]], disk: str) -> None:
    """Make the unpacked Debian boot by GRUB, with a serial console: by UEFI if there is a /boot/efi, else by BIOS."""
    system = recipe["system"]
    uefi = any(row.get("mount") == "/boot/efi" for _, row in rows)
    # Debian's signed GRUB looks for its configuration in EFI/debian. This machine has no boot variables to set.
    by_uefi = ["--target=x86_64-efi", "--bootloader-id=debian", "--no-nvram"]
    (NEW / "etc/fstab").write_text(fstab(rows))
    (NEW / "etc/hostname").write_text(system["hostname"] + "\n")
    run("chroot", str(NEW), "chpasswd", text=f"root:{system['password']}\n")
    (NEW / "etc/default/grub").write_text(
        "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISABLE_OS_PROBER=true\nGRUB_TERMINAL=serial\n"
        'GRUB_CMDLINE_LINUX="console=ttyS0,115200 mitigations=off no_timer_check tsc=reliable net.ifnames=0"\n'
    )
    for name in ("dev", "proc", "sys", "run"):
        run("mount", "--rbind", f"/{name}", str(NEW / name))
    run("chroot", str(NEW), "grub-install", *(by_uefi if uefi else ["--target=i386-pc", disk]))
    run("chroot", str(NEW), "update-grub")
    for name in ("dev", "proc", "sys", "run"):
        run("umount", "--recursive", "--lazy", str(NEW / name))


def main() -> None:
    recipe = json.loads(Path(sys.argv[1]).read_text())
    disks, *tar = sys.argv[2:]
    [disk, *_] = disks.split(",")
    partition(recipe, disk)
    make_vgs(recipe, disks.split(","))
    rows = filesystems(recipe, disk)
    mounts = []
    for device, row in rows:
        if "mount" in row:
            target = NEW / row["mount"].strip("/")
            target.mkdir(parents=True, exist_ok=True)
            run("mount", device, str(target))
            mounts.append(target)
    if tar:
        (NEW / "tmp").mkdir(exist_ok=True)
        os.chmod(NEW / "tmp", 0o1777)
        run("tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f", tar[0], "-C", str(NEW))
    make_files(NEW, [m for m in mounts if m != NEW / "boot"], recipe["files"])
    if tar:
        configure(recipe, rows, disk)
    run("sync")
    run("umount", "--recursive", str(NEW))
    for vg in vgs_of(recipe):
        run("vgchange", "--activate", "n", vg["name"])
    print("server made", flush=True)


if __name__ == "__main__":
    main()
