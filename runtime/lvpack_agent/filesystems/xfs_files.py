"""What the inodes of an XFS tell of its files, without looking at names: which blocks were never written, and links."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs, xfs_superblock
from lvpack_agent.layout.ranges import Range, joined
from lvpack_agent.trees import extents, inodes
from lvpack_agent.trees.walk import FOLDER
from lvpack_agent.undo import Undo


class Files(NamedTuple):
    """Facts of all files of an XFS together.

    preallocated: where on the device their blocks are preallocated and not written; what the device holds there means
    nothing, such blocks are read as zeros. linked: how many files have several names. hint: the largest
    extent size hint, in bytes.
    """

    preallocated: tuple[Range, ...]
    linked: int
    hint: int


def look(device: str) -> Files:
    """Look at all inodes of a filesystem whose log is clean, and at the blocks of those that may be preallocated.

    Raises Failed if they cannot be read, ToolFailed if this kernel does not mount it.
    """
    found: list[Range] = []
    linked = hint = 0
    with Undo() as undo:
        root = xfs.mounted(device, places.READING / Path(device).name, undo, "ro", "norecovery")
        try:
            fd = os.open(root, FOLDER)
            undo.callback(os.close, fd)
            for inode in inodes.all_inodes(fd):
                linked += inode.links > 1 and not stat.S_ISDIR(inode.mode)
                hint = max(hint, inode.hint)
                if stat.S_ISREG(inode.mode) and inode.blocks and inode.flags & inodes.MAYBE_UNWRITTEN:
                    found += _preallocated(fd, inode)
        except OSError as error:
            raise Failed(f"cannot read the inodes of '{device}': {error.strerror}") from error
    return Files(preallocated=joined(found), linked=linked, hint=hint * xfs_superblock.read(device).block_size)


def _preallocated(fd: int, inode: inodes.Inode) -> list[Range]:
    if inode.flags & inodes.REALTIME:
        return []  # Its blocks are on another device.
    file = inodes.opened(fd, inode)
    try:
        return [
            Range(start=extent.physical, count=extent.end - extent.start)
            for extent in extents.of_file(file)
            if not extent.written
        ]
    finally:
        os.close(file)
