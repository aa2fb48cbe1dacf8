"""Which file has a block of a filesystem: asked when a block cannot be read."""

import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import dirtimes, xfs
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.spots import FREE
from lvpack_agent.processes import run
from lvpack_agent.trees import extents, inodes
from lvpack_agent.trees.walk import FOLDER, shown
from lvpack_agent.undo import Undo

# Looking for names may take this long; what was not found then has none.
SEARCH_SECONDS = 120.0
_AT_A_TIME = 500
# Inodes that no directory names (kernel: fs/ext4/ext4.h).
_EXT_RESERVED = {1: "(bad blocks)", 3: "(quota)", 4: "(quota)", 7: "(reserved for growing)", 8: "(journal)"}
METADATA = "(metadata)"
_ROW = re.compile(r"^(\d+)\t(\d+|<block not found>)$", re.MULTILINE)


def owners(device: str, content: Content, blocks: Iterable[int], folder: Path) -> dict[int, str]:
    """Return, for blocks of a filesystem, the paths of the files that have them, or what else, in parentheses.

    What cannot be told is left out. folder is a place to mount the filesystem at; its log must have been replayed.
    """
    wanted = sorted(set(blocks))
    with suppress(Failed, OSError):
        if content.is_ext:
            return _of_ext(device, content, wanted, folder)
        if content.type == "xfs":
            return _of_xfs(device, content, wanted, folder)
    return {}


def _of_ext(device: str, content: Content, blocks: list[int], folder: Path) -> dict[int, str]:
    found = {b: FREE for b in blocks if any(part.start <= b < part.end for part in content.free)}
    rest = [b for b in blocks if b not in found]
    holders: dict[int, int] = {}
    for first in range(0, len(rest), _AT_A_TIME):
        some = " ".join(map(str, rest[first : first + _AT_A_TIME]))
        for block, inode in _ROW.findall(run(["debugfs", "-R", f"icheck {some}", device]).stdout):
            if inode.isdigit():
                holders[int(block)] = int(inode)
            else:
                found[int(block)] = METADATA
    with dirtimes.mounted(device, folder) as root:
        names = paths(root, set(holders.values()) - _EXT_RESERVED.keys())
    known = {**_EXT_RESERVED, **names}
    return found | {block: known[inode] for block, inode in holders.items() if inode in known}


def _of_xfs(device: str, content: Content, blocks: list[int], folder: Path) -> dict[int, str]:
    size = content.block_size
    holders: dict[int, int] = {}
    deadline = time.monotonic() + SEARCH_SECONDS
    with Undo() as undo:
        root = xfs.mounted(device, folder, undo, "ro", "norecovery")
        fd = os.open(root, FOLDER)
        undo.callback(os.close, fd)
        for inode in inodes.all_inodes(fd):
            if time.monotonic() > deadline or len(holders) == len(blocks):
                break
            if not stat.S_ISREG(inode.mode) or not inode.blocks or inode.flags & inodes.REALTIME:
                continue
            with suppress(OSError):
                file = inodes.opened(fd, inode)
                try:
                    for part in extents.of_file(file):
                        last = part.physical + part.end - part.start
                        holders |= {b: inode.number for b in blocks if part.physical <= b * size < last}
                finally:
                    os.close(file)
        names = paths(os.fsencode(root), set(holders.values()))
    return {block: names[inode] for block, inode in holders.items() if inode in names}


def paths(root: bytes, wanted: set[int]) -> dict[int, str]:
    """Return the paths, below a mounted root and for people, of inodes by their numbers: of several names one."""
    found = dict.fromkeys(wanted & {os.lstat(root).st_ino}, "/")
    deadline = time.monotonic() + SEARCH_SECONDS
    waiting = [b""]
    while waiting and len(found) < len(wanted) and time.monotonic() < deadline:
        path = waiting.pop()
        with suppress(OSError), os.scandir(root + path) as entries:
            for entry in entries:
                name = path + b"/" + os.fsencode(entry.name)
                if entry.inode() in wanted:
                    found.setdefault(entry.inode(), shown(os.fsdecode(name)))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
    return found
