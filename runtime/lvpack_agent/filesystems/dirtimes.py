"""The times of directories across a resize2fs that moves inodes.

It rewrites the entries of moved inodes and sets the modification and change times of the directories that hold them
to now (e2fsprogs: resize/resize2fs.c, check_and_change_inodes()). Backup programs and people go by those times.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.devices import blockdev
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo

SECOND = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Modification and change time of an inode, in nanoseconds since 1970."""

    modified: int
    changed: int


@contextmanager
def mounted(device: str, folder: Path) -> Iterator[bytes]:
    """Mount an ext filesystem at a folder, without replaying its journal; yield the folder.

    Nothing is written to it: neither what reading.py tells of, nor a note in its superblock that a directory is damaged
    or cannot be read. In place it may be the server's only copy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Undo() as undo:
        blockdev.refuse_writes(device, undo)
        # The driver of ext4 mounts ext2 and ext3 as well; noload: no journal is replayed.
        run(["mount", "-t", "ext4", "-o", "ro,noload,nodev,nosuid,noexec,noatime", device, folder])
        undo.callback(run, ["umount", folder])
        yield os.fsencode(folder)


def read(device: str, folder: Path) -> dict[bytes, tuple[int, Times]]:
    """Return inode number and times of each directory of an ext filesystem by path; folder is to mount it at."""
    found: dict[bytes, tuple[int, Times]] = {}
    with mounted(device, folder) as root:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            info = os.lstat(root + path)
            found[path] = info.st_ino, Times(modified=info.st_mtime_ns, changed=info.st_ctime_ns)
            with os.scandir(root + path) as entries:
                waiting += [path + b"/" + os.fsencode(e.name) for e in entries if e.is_dir(follow_symlinks=False)]
    return found


def script(wanted: dict[int, Times]) -> str:
    """Return the debugfs(8) commands that give inodes their times."""
    lines = []
    for inode, times in wanted.items():
        for name, time in (("mtime", times.modified), ("ctime", times.changed)):
            seconds, nanoseconds = divmod(time, SECOND)
            # On the disk are the low 32 bits of the seconds, signed; then, but for inodes of 128 bytes, two bits that
            # extend them beyond 2038, and the nanoseconds (kernel: ext4.h, EXT4_EPOCH_BITS).
            low = seconds % (1 << 32)
            epoch = (seconds - low + (low >> 31 << 32)) >> 32 & 3
            lines.append(f"set_inode_field <{inode}> {name} @{low}")
            lines.append(f"set_inode_field <{inode}> {name}_extra {epoch | nanoseconds << 2}")
    return "\n".join(lines) + "\n"


@contextmanager
def kept(device: str, folder: Path, findings: list[str]) -> Iterator[None]:
    """Give directories back the times that they had before; what cannot be given back becomes a finding."""
    before = read(device, folder)
    yield
    wanted = _differing(before, read(device, folder))
    if wanted:
        run(["debugfs", "-w", "-f", "-", device], input=script(wanted))
        if left := _differing(before, read(device, folder)):
            findings.append(f"{len(left)} directories have got a new modification time")


def _differing(before: dict[bytes, tuple[int, Times]], after: dict[bytes, tuple[int, Times]]) -> dict[int, Times]:
    return {inode: before[path][1] for path, (inode, times) in after.items() if times != before[path][1]}
