"""Filesystems of XFS in memory for tests, and trees on them by the dice: what servers have, and what hardly any has.

All in one file, since guests get it as one beside the script that they run.
"""

import ctypes
import os
import random
import re
import socket
import stat
import struct
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from lvpack_agent.processes import run
from lvpack_agent.sizes import round_up
from lvpack_agent.trees import extents, inodes
from lvpack_agent.trees.inodes import Attributes

EDGES = (0, 1, 511, 4095, 4096, 4097, 65535, 65536, 300_001)
NAMES = ("file", "with space", "ünïcode", "new\nline", os.fsdecode(b"\xff\xfe not UTF-8"), "-dash", "x" * 251)
# Seconds since 1970 in 1901, before 1970, now, in 2038, in 2486 (only with bigtime).
TIMES = (-(1 << 31), -7, 1_700_000_000, (1 << 31) - 1)
LATEST = 16_299_260_424
# An ACL: user and user 1234, group, mask, others; linux/posix_acl_xattr.h.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, bits, who)
    for tag, bits, who in (
        (1, 6, 0xFFFFFFFF),
        (2, 4, 1234),
        (4, 4, 0xFFFFFFFF),
        (16, 6, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)
FILE_FLAGS = ("immutable", "append-only", "sync", "noatime", "nodump", "nodefrag", "dax")
FOLDER_FLAGS = ("immutable", "noatime", "nodump", "projinherit", "nosymlinks", "filestream", "rtinherit", "dax")
# A row of xfs_bmap -vp: where in the file and where on the device, in sectors; shared and unwritten ones have flags.
_EXTENT = re.compile(r"\s*\d+: \[(\d+)\.\.(\d+)\]:\s+(\d+)\.\.\d+ .* (\d{6})\s*$")
BITS = {flag.name: flag.bit for flag in inodes.FLAGS}


@cache
def _alone() -> None:
    """Let nobody else have what is mounted from now on: a namespace that was made meanwhile would keep it mounted."""
    # linux/sched.h: CLONE_NEWNS
    assert ctypes.CDLL(None).unshare(0x00020000) == 0
    run(["mount", "--make-rprivate", "/"])


@contextmanager
def memory(folder: Path) -> Iterator[Path]:
    """Have a folder in memory, for images."""
    _alone()
    folder.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "lvpack-test", folder])
    try:
        yield folder
    finally:
        run(["umount", folder])


@contextmanager
def device(image: Path, size: int) -> Iterator[str]:
    """Make a sparse image of a size if there is none, and a device of it."""
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(size)
    name = run(["losetup", "--find", "--show", image]).stdout.strip()
    try:
        yield name
    finally:
        run(["losetup", "--detach", name])


@contextmanager
def mounted(device: str, at: Path, options: str = "rw") -> Iterator[Path]:
    """Mount an XFS for a while."""
    at.mkdir(exist_ok=True)
    run(["mount", "-t", "xfs", "-o", f"nouuid,noatime,{options}", device, at])
    try:
        yield at
    finally:
        run(["umount", at])


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def flagged(path: Path, names: str, *, project: int = 0, hint: int = 0, copies: int = 0) -> None:
    """Give a file flags by name, and what goes with them."""
    with opened(path) as fd:
        have = inodes.attributes(fd)
        flags = have.flags | sum(BITS[name] for name in names.split())
        inodes.set_attributes(fd, Attributes(flags, hint or have.hint, project or have.project, copies or have.copies))


def unflagged(path: Path, name: str) -> None:
    """Take a flag from a file."""
    with opened(path) as fd:
        have = inodes.attributes(fd)
        inodes.set_attributes(fd, have._replace(flags=have.flags & ~BITS[name]))


class Dice:
    """Makes a tree below a folder; the same number makes the same one."""

    def __init__(self, root: Path, number: int, *, reflink: bool, v5: bool, late: bool) -> None:
        self._root = root
        self._random = random.Random(number)
        self._reflink, self._v5 = reflink, v5
        self._times = (*TIMES, LATEST) if late else TIMES
        self._folders = [root]
        self._files: list[Path] = []
        self._fixed: list[tuple[Path, str]] = []

    def tree(self, count: int) -> None:
        """Make so many entries."""
        kinds: list[tuple[int, Callable[[Path], object]]] = [
            (4, self._folder),
            (10, self._plain),
            (4, self._sparse),
            (5, self._preallocated),
            (2, self._hinted),
            (3, self._link),
            (2, self._soft),
            (1, lambda path: os.mkfifo(path, 0o640)),
            (1, lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(0, 0))),
            (1, lambda path: os.mknod(path, 0o660 | stat.S_IFBLK, os.makedev(259, 77))),
            (1, _socket),
            (1, self._huge),
        ]
        if self._reflink:
            kinds += [(4, self._copied), (4, self._partly)]
        weights = [weight for weight, _ in kinds]
        for number in range(count):
            folder = self._random.choice(self._folders)
            name = self._random.choice(NAMES)[:250] + str(number)
            [(_, make)] = self._random.choices(kinds, weights)
            make(folder / name)
            with suppress(FileNotFoundError):
                self._adorn(folder / name)
        for folder in self._folders[::-1]:
            self._adorn(folder)
        for path, flag in self._fixed:
            flagged(path, flag)

    def _bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def _folder(self, path: Path) -> None:
        path.mkdir()
        self._folders.append(path)

    def _plain(self, path: Path) -> None:
        path.write_bytes(self._bytes(self._random.choice((*EDGES, self._random.randrange(40_000)))))
        self._files.append(path)

    def _sparse(self, path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(self._random.randrange(4)):
                file.seek(self._random.randrange(1 << self._random.randrange(12, 40)))
                file.write(self._bytes(self._random.randrange(1, 20_000)))
            file.truncate(self._random.randrange(1 << 40))
        self._files.append(path)

    def _huge(self, path: Path) -> None:
        path.touch()
        with suppress(OSError):  # Not with small blocks.
            os.truncate(path, extents.MAX_SIZE)
            if self._random.random() < 0.5:
                with path.open("r+b") as file:
                    file.seek(extents.MAX_SIZE - 5000)
                    file.write(self._bytes(5000))

    def _preallocated(self, path: Path) -> None:
        """As databases and journals do: allocate, write some, cut, punch; also beyond the end."""
        path.write_bytes(self._bytes(self._random.choice(EDGES[:7])))
        with opened(path, os.O_RDWR) as fd:
            for _ in range(self._random.randrange(1, 5)):
                start = self._random.randrange(400_000)
                end = start + self._random.randrange(1, 200_000)
                match self._random.randrange(5):
                    case 0 | 1:
                        extents.allocate(fd, start, end)
                    case 2:
                        os.posix_fallocate(fd, start, end - start)
                    case 3:
                        os.pwrite(fd, self._bytes(5000), start)
                    case 4:
                        extents.punch(fd, start, end)
        self._files.append(path)

    def _hinted(self, path: Path) -> None:
        path.touch()
        flagged(path, "extsize", hint=1 << self._random.randrange(16, 19))
        with opened(path, os.O_RDWR) as fd:
            for _ in range(self._random.randrange(4)):
                start = self._random.randrange(500_000)
                os.pwrite(fd, self._bytes(self._random.randrange(1, 9000)), start)
                os.fsync(fd)
                if self._random.random() < 0.3:
                    extents.punch(fd, start + 4096, start + 60_000)
        self._files.append(path)

    def _link(self, path: Path) -> None:
        files = [file for file in self._files if file.parent != path.parent] or self._files
        with suppress(OSError):  # Not into a folder of another project.
            os.link(self._random.choice([*files, self._root]), path, follow_symlinks=False)
            self._files.append(path)

    def _soft(self, path: Path) -> None:
        with suppress(OSError):  # The folder has the flag nosymlinks.
            path.symlink_to("nowhere" * self._random.randrange(1, 100))

    def _copied(self, path: Path) -> None:
        if self._files:
            run(["cp", "--reflink=auto", self._random.choice(self._files), path])
            self._files.append(path)
            if self._random.random() < 0.5:
                with path.open("r+b") as file:
                    file.seek(self._random.randrange(20_000))
                    file.write(self._bytes(5000))
        else:
            self._plain(path)

    def _partly(self, path: Path) -> None:
        """Share some blocks with one or several files, or with itself."""
        path.write_bytes(self._bytes(self._random.randrange(200_000)))
        sources = [file for file in self._files if file.stat().st_size >= 8192]
        for _ in range(self._random.randrange(1, 4)):
            source = self._random.choice([*sources, path])
            with opened(source) as old, opened(path, os.O_RDWR) as new:
                blocks = min(source.stat().st_size, 1 << 20) // 4096
                if blocks < 2:
                    continue
                first = self._random.randrange(blocks - 1)
                count = self._random.randrange(1, blocks - first)
                with suppress(OSError):  # It overlaps, or the other one cannot be shared (dax, realtime).
                    extents.clone(old, first * 4096, count * 4096, new, self._random.randrange(300) * 4096)
        self._files.append(path)

    def _adorn(self, path: Path) -> None:
        """Give a file or folder an owner, mode, attributes and times, each if the dice say so."""
        throw = self._random.random
        info = path.lstat()
        link, folder = stat.S_ISLNK(info.st_mode), stat.S_ISDIR(info.st_mode)
        plain = stat.S_ISREG(info.st_mode)
        if throw() < 0.5:
            os.chown(
                path, self._random.choice((0, 5, 1234, 0xFFFFFFFE)), self._random.randrange(99), follow_symlinks=False
            )
        if throw() < 0.5 and not link:
            path.chmod(self._random.choice((0o644, 0o4755, 0o2711, 0o1777, 0o000, 0o7777)))
        for name in ("user.note", "trusted.overlay.opaque", "security.selinux", "security.NTACL"):
            if throw() < 0.2 and (plain or folder or name != "user.note"):
                os.setxattr(
                    path, name, self._bytes(self._random.choice((0, 1, 40, 3000, 65536))), follow_symlinks=False
                )
        if throw() < 0.15 and not link:
            os.setxattr(path, "system.posix_acl_access", ACL)
        if throw() < 0.2 and folder:
            os.setxattr(path, "system.posix_acl_default", ACL)
        if throw() < 0.1 and plain:
            # struct vfs_cap_data, revision 2: cap_net_raw.
            os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
        read, written = (self._random.choice(self._times) * 10**9 + self._random.randrange(10**9) for _ in range(2))
        os.utime(path, ns=(read, written), follow_symlinks=False)
        if not plain and not folder:
            return
        if throw() < 0.2:
            flagged(path, "", project=self._random.choice((7, 42, 65535)))
        if throw() < 0.3:
            flags = self._random.choice(FOLDER_FLAGS if folder else FILE_FLAGS)
            if flags in ("immutable", "append-only"):
                self._fixed.append((path, flags))
            elif flags != "dax" or self._v5:
                with suppress(OSError):  # Some do not go together.
                    flagged(path, flags)
        if throw() < 0.1 and folder:
            flagged(path, "extszinherit", hint=1 << 18)
        # Not for a folder: with rtinherit xfs_repair takes that for damage.
        if throw() < 0.1 and self._reflink and plain:
            with suppress(OSError):
                flagged(path, "cowextsize", copies=1 << 17)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, opened(path.parent, os.O_DIRECTORY) as folder:
        server.bind(f"/proc/self/fd/{folder}/{path.name[:60]}")
        if path.name[60:]:
            (path.parent / path.name[:60]).rename(path)


def described(root: Path) -> dict[str, Any]:
    """Return what a tree is, as stat(2), xfs_bmap(8) and bulkstat have it, by path; "" is who shares blocks."""
    found: dict[str, Any] = {}
    names_of: dict[int, list[str]] = defaultdict(list)
    files: dict[str, Path] = {}
    for folder, folders, others in os.walk(root):
        for path in (Path(folder), *(Path(folder, name) for name in (*others, *folders))):
            name = str(path).removeprefix(str(root)) or "/"
            info = path.lstat()
            row: list[Any] = [info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_rdev]
            row += [info.st_mtime_ns, info.st_atime_ns, names_of[info.st_ino]]
            names_of[info.st_ino].append(name)
            row.append(
                {a: os.getxattr(path, a, follow_symlinks=False) for a in os.listxattr(path, follow_symlinks=False)}
            )
            with opened(root) as fd:
                row.append(inodes.project(fd, info.st_ino))
            if stat.S_ISLNK(info.st_mode):
                row.append(str(path.readlink()))
            if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
                with opened(path) as fd:
                    have = inodes.attributes(fd)
                row.append(have._replace(flags=have.flags & ~BITS["hasattr"]))
            if stat.S_ISREG(info.st_mode):
                row += [info.st_size, _data(path)]
                files[name] = path
            found[name] = row
    for names in names_of.values():
        names.sort()
    blocks, found[""] = _blocks(files)
    for name, kinds in blocks.items():
        found[name].append(kinds)
    return found


def forgiven(path: str, before: Any, after: Any) -> Any:
    """Return what a file shall be like without what its copy may have more: the flag for what was preallocated.

    What the kernel has preallocated by itself, as a file grew, has none.
    """
    if path and before and after and stat.S_ISREG(before[0]) and any(not written for _, written in before[-1]):
        [number] = [n for n, value in enumerate(before) if isinstance(value, Attributes)]
        flags = before[number].flags | after[number].flags & BITS["prealloc"]
        return [*before[:number], before[number]._replace(flags=flags), *before[number + 1 :]]
    return before


def _data(path: Path) -> list[tuple[int, int]]:
    """Return the blocks of 4 KiB in which a file has other bytes than zeros: where, and a checksum."""
    with path.open("rb") as file:
        at, parts = 0, []
        with suppress(OSError):  # No more data.
            while True:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // 4096 * 4096
                data = os.pread(file.fileno(), 4096, at)
                if data.strip(b"\0"):
                    parts.append((at, zlib.crc32(data)))
                at += 4096
        return parts


def _blocks(files: dict[str, Path]) -> tuple[dict[str, list[tuple[int, bool]]], list[list[tuple[str, int]]]]:
    """Return the sectors of files that have blocks, and whether those are written; and who shares which.

    What is beyond the end of a file counts if that was preallocated, and then as not written.
    """
    found: dict[str, list[tuple[int, bool]]] = {name: [] for name in files}
    sharers: dict[int, set[tuple[str, int]]] = defaultdict(set)
    names = list(files)
    with tempfile.TemporaryDirectory() as folder:
        # One process for many, and no odd names in what it prints.
        for number, path in enumerate(files.values()):
            Path(folder, f"number-{number}").symlink_to(path)
        links = [Path(folder, f"number-{number}") for number in range(len(files))]
        parts = [links[at : at + 500] for at in range(0, len(links), 500)]
        said = "".join(run(["xfs_io", "-r", "-c", "bmap -vp", *part]).stdout for part in parts)
    name = ""
    for line in said.splitlines():
        if head := re.match(r".*/number-(\d+):", line):
            name = names[int(head[1])]
            path = files[name]
            with opened(path) as fd:
                end = round_up(path.lstat().st_size, os.fstatvfs(fd).f_frsize)
                beyond = bool(inodes.attributes(fd).flags & BITS["prealloc"])
        elif row := _EXTENT.match(line):
            first, last, place = (int(row[n]) for n in (1, 2, 3))
            written = not int(row[4], 8) & 0o10000
            for sector in range(first, last + 1):
                inside = sector * 512 < end
                if inside or beyond:
                    found[name].append((sector, inside and written))
                if int(row[4], 8) & 0o100000:
                    sharers[place + sector - first].add((name, sector))
    return found, sorted(sorted(group) for group in sharers.values())
