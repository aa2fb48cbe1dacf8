"""XFS: checked, mounted, and what it shares.

Facts of the format are from the kernel's fs/xfs/libxfs/xfs_format.h, struct xfs_agf and xfs_btree_block; all numbers
are big-endian.
"""

import re
import stat
import struct
from contextlib import suppress
from pathlib import Path

from lvpack_agent import places
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems.ext import MOST_TEXT
from lvpack_agent.filesystems.xfs_superblock import REFLINK, Superblock, read
from lvpack_agent.printable import quoted
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.undo import Undo

# struct xfs_agf, of the tree of shared blocks: blocks, root, level. A block of it: magic, level, records; the head has
# 56 bytes (with CRCs, as only such a filesystem has that tree), a record 12.
_GROUP = struct.Struct(">4s80xIII")
_TREE = struct.Struct(">4sHH")
_TREE_HEAD, _TREE_RECORD = 56, 12

# xfs_repair(8): the exit status of -n for damage; what it says of where it is.
DAMAGED = 1
_PROGRESS = re.compile(r"Phase |\s+- |No modify |\s*$")


def is_clean(device: str) -> bool:
    """Return whether there is nothing to replay in the log."""
    return "state: <CLEAN>" in run(["xfs_logprint", "-t", device]).stdout


def check(device: str) -> None:
    """Check without writing. Raises Failed with xfs_repair's words if the filesystem is damaged."""
    # It compares the superblocks of two groups, unless it is told to do without.
    alone = ["-o", "force_geometry"] if read(device).groups == 1 else []
    answer = run(["xfs_repair", "-n", *alone, device], ok=(0, DAMAGED))
    if answer.status:
        lines = (line for line in (answer.stdout + answer.stderr).splitlines() if not _PROGRESS.match(line))
        raise Failed(f"cannot trust the XFS on '{device}': {quoted(list(lines)[:4])}")


def shared_ranges(device: str, block: Superblock) -> int:
    """Return how many ranges of blocks are shared, at most, by the trees of reference counts. Raises Failed."""
    found = 0
    if not block.ro_compatible & REFLINK:
        return found
    with Path(device).open("rb") as file:
        for number in range(block.groups):
            start = number * block.group_blocks * block.block_size
            file.seek(start + block.sector_size)
            magic, blocks, root, level = _GROUP.unpack(file.read(_GROUP.size))
            file.seek(start + root * block.block_size)
            tree, _, records = _TREE.unpack(file.read(_TREE.size))
            if (magic, tree) != (b"XAGF", b"R3FC"):
                raise Failed(f"cannot read XFS on '{device}': allocation group {number} is damaged")
            found += records if level == 1 else blocks * ((block.block_size - _TREE_HEAD) // _TREE_RECORD)
    return found


def mounted(device: str, at: Path, undo: Undo, *options: str) -> Path:
    """Mount a filesystem until undo runs, with the quotas that it has; return where.

    Its log is replayed. Without quotas the kernel would leave out what the log says of them, and forget that they were
    accounted (kernel: fs/xfs/xfs_dquot_item_recover.c, xfs_qm.c).
    """
    at.mkdir(parents=True, exist_ok=True)
    words = ["nouuid", "noatime", *options]
    words += [read(device).quota_options()] if "norecovery" not in options else []
    run(["mount", "-t", "xfs", "-o", ",".join(filter(None, words)), device, at])
    undo.callback(run, ["umount", at])
    return at


def read_file(device: str, path: str) -> str:
    """Return a text file of a filesystem; "" if there is none of at most MOST_TEXT bytes. The log is not replayed.

    Only a regular file is one: a FIFO or a device is not opened, and no link leads out of the filesystem.
    """
    with Undo() as undo, suppress(ToolFailed, OSError):
        root = mounted(device, places.READING / Path(device).name, undo, "ro", "norecovery")
        return text_of(root, path)
    return ""


def text_of(root: Path, path: str) -> str:
    """Return the text of a file of a mounted filesystem, as read_file() does. Raises OSError."""
    file = (root / path.lstrip("/")).resolve()
    if not file.is_relative_to(root.resolve()):
        return ""
    info = file.lstat()
    if not stat.S_ISREG(info.st_mode) or info.st_size > MOST_TEXT:
        return ""
    return file.read_text(errors="replace")
