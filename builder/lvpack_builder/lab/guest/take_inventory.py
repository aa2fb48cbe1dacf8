"""Runs in the live image: prints all that a backup must keep, as one JSON document. Standard library only.

usage: take_inventory.py DISK OUT.json; no VG may be active. Nothing is written to the disk, or to the others, whose VGs
and filesystems are looked at too.
"""

import fcntl
import hashlib
import json
import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

MOUNT = Path("/inventory")
# Of files from this size on holes are not read: to hash zeros takes an emulated processor as long as to hash anything.
LARGE, BLOCK = 16 << 20, 1 << 16
# A journal is never replayed here. The driver of ext4 knows noload for ext2 as well.
EXT = ("-t", "ext4", "-o", "ro,noload")
READ_ONLY = {
    "ext2": EXT,
    "ext3": EXT,
    "ext4": EXT,
    "xfs": ("-t", "xfs", "-o", "ro,norecovery"),
    "vfat": ("-t", "vfat", "-o", "ro"),
}


def run(*command: str, ok: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE)
    if done.returncode not in ok:
        sys.exit(f"{command} ended with {done.returncode}")
    return done.stdout


def blkid(device: str) -> dict[str, str]:
    lines = run("blkid", "-p", "-o", "export", device, ok=(0, 2)).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("DEVNAME"))


def sha256(path: bytes | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(path: bytes, size: int) -> str:
    """Return a hash of a file; of a large one, of its blocks that are not all zeros, and of where they are."""
    if size < LARGE:
        return sha256(path)
    digest, at = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:  # There is no more.
                break
            data = os.pread(file.fileno(), min(BLOCK, size - at), at)
            if data.strip(b"\0"):
                digest.update(b"%d:" % at + data)
            at += BLOCK
    return digest.hexdigest()


def attributes(path: bytes) -> list[int]:
    """Return flags, extent size hint and project of a file or directory (linux/fs.h: FS_IOC_FSGETXATTR)."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        flags, hint, _, project = struct.unpack("=IIII12x", fcntl.ioctl(fd, 0x801C581F, bytes(28)))
    finally:
        os.close(fd)
    return [flags, hint, project]


def entry(path: bytes, links: dict[int, str], kind: str) -> dict[str, Any]:
    """Return everything about one file but its access and change times."""
    info = os.lstat(path)
    name = os.fsdecode(path.removeprefix(os.fsencode(MOUNT))).encode("utf-8", "surrogateescape").decode("latin-1")
    found: dict[str, Any] = {
        "path": name,
        "mode": oct(info.st_mode),
        "owner": [info.st_uid, info.st_gid],
        "links": info.st_nlink,
        "inode_of": links.setdefault(info.st_ino, name),
        "xattrs": {
            a: os.getxattr(path, a, follow_symlinks=False).hex() for a in os.listxattr(path, follow_symlinks=False)
        },
        "mtime": info.st_mtime_ns,
    }
    if stat.S_ISREG(info.st_mode):
        found["size"] = info.st_size
        found["sha256"] = contents(path, info.st_size)
    elif stat.S_ISLNK(info.st_mode):
        found["target"] = os.readlink(path).decode("latin-1")
    elif stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
        found["device"] = info.st_rdev
    if kind == "xfs" and (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        found["attributes"] = attributes(path)
    return found


def walk(device: str, kind: str) -> list[dict[str, Any]]:
    """Return the entries of one filesystem, sorted by path."""
    MOUNT.mkdir(exist_ok=True)
    run("mount", *READ_ONLY[kind], device, str(MOUNT))
    try:
        links: dict[int, str] = {}
        paths = [os.fsencode(MOUNT)]
        for folder, folders, files in os.walk(os.fsencode(MOUNT)):
            paths += [os.path.join(folder, name) for name in (*folders, *files)]
        return [entry(path, links, kind) for path in sorted(paths)]
    finally:
        run("umount", str(MOUNT))


def filesystems_beside(disk: str) -> dict[str, str]:
    """Return the filesystems on other disks, and on their partitions, by names that do not tell where they are."""
    rows = json.loads(run("lsblk", "--json", "--list", "-o", "PATH,TYPE"))["blockdevices"]
    others = [row["path"] for row in rows if row["type"] in ("disk", "part") and not row["path"].startswith(disk)]
    known = {path: blkid(path) for path in others}
    return {f"filesystem {facts['UUID']}": path for path, facts in known.items() if facts.get("TYPE") in READ_ONLY}


def main() -> None:
    disk, out = sys.argv[1:]
    answer = run("sfdisk", "--json", disk, ok=(0, 1))
    table = json.loads(answer)["partitiontable"] if answer else {"partitions": []}
    found: dict[str, Any] = {"table": table, "filesystems": {}, "files": {}, "minimum": {}, "whole": {}}
    fields = "vg_name,vg_uuid,vg_tags,vg_extent_size,vg_free_count,pv_uuid,pe_start,pv_pe_count,pv_mda_count,pv_name"
    lvm = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o"]
    found["pvs"] = json.loads(run("lvm", "pvs", *lvm, fields))["report"][0]["pv"]
    fields = "pv_name,pvseg_start,pvseg_size,lv_name,seg_start_pe"
    # LVM names this list "pvseg", or "pv" when the fields are of PVs alone.
    [report] = json.loads(run("lvm", "pvs", "--segments", *lvm, fields))["report"]
    found["segments"] = report.get("pvseg", report.get("pv"))
    found["lvs"] = json.loads(run("lvm", "lvs", *lvm, "vg_name,lv_name,lv_uuid,lv_tags,lv_size,lv_dm_path"))["report"][
        0
    ]["lv"]
    for vg in {pv["vg_name"] for pv in found["pvs"]}:
        run("vgchange", "--activate", "y", vg)
    numbered = {p["node"]: re.sub(r".*?([0-9]+)$", r"\1", p["node"]) for p in table["partitions"]}
    # An extended partition holds no more than the rows of the logical ones.
    numbered = {p["node"]: numbered[p["node"]] for p in table["partitions"] if p["type"] not in ("5", "f", "85")}
    devices = {f"partition {number}": node for node, number in numbered.items()}
    devices |= {f"LV {lv['lv_name']}": lv["lv_dm_path"] for lv in found["lvs"]}
    devices |= filesystems_beside(disk)
    for name, device in devices.items():
        facts = found["filesystems"][name] = blkid(device)
        kind = facts.get("TYPE", "")
        if kind in READ_ONLY:
            found["files"][name] = walk(device, kind)
        if kind.startswith("ext"):
            answer = run("resize2fs", "-P", device)
            block = re.search(r"Block size: +(\d+)", run("dumpe2fs", "-h", device))
            assert block
            found["minimum"][name] = int(answer.split(":")[1]) * int(block[1])
        elif kind not in ("swap", "LVM2_member", *READ_ONLY):
            found["whole"][name] = sha256(device)
    Path(out).write_text(json.dumps(found))
    print("inventory taken", flush=True)


if __name__ == "__main__":
    main()
