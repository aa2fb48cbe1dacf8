"""An XFS made anew, smaller: whether that can be, what it takes, and doing it."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs, xfs_files, xfs_superblock
from lvpack_agent.filesystems.xfs_superblock import Superblock
from lvpack_agent.printable import quoted
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.sizes import MIB, round_up
from lvpack_agent.trees import quotas, work
from lvpack_agent.undo import Undo

# Bytes of memory for each file with several names, and for each range of shared blocks, while they are copied.
_NAMES_NOTE = _SHARING_NOTE = 500


class Fixed(Exception):
    """Why a filesystem cannot be made anew, smaller; its text follows a colon."""


def estimated(device: str) -> tuple[int, int]:
    """Return the bytes that a new filesystem with the same files needs, and those that making it writes.

    The latter include the memory that the copy takes, as the store may be in memory. Blocks that files share count
    once, as they will be written once.
    Raises Fixed if it has what cannot be made again, has a log to replay, or is damaged.
    """
    block = xfs_superblock.read(device)
    if block.realtime_blocks:
        raise Fixed("it has a realtime section")
    if not block.log_start:
        raise Fixed("its log is on another device")
    if unknown := block.unknown():
        raise Fixed(unknown)
    if not xfs.is_clean(device):
        raise Fixed("its log cannot be replayed")
    try:
        xfs.check(device)
        shared = xfs.shared_ranges(device, block)
        files = xfs_files.look(device)
    except ToolFailed as failed:
        # The kernel says more on the console.
        old = "" if block.crc else "it is of version 4, which newer kernels do not mount; "
        raise Fixed(f"{old}it cannot be looked at: {failed.message}") from None
    except Failed as failed:
        raise Fixed(f"it is damaged, or cannot be read: {failed.message}") from None
    preallocated = sum(part.count for part in files.preallocated)
    notes = files.linked * _NAMES_NOTE + shared * _SHARING_NOTE + work.memory()
    # While a file with a hint is written it has whole extents of that size, however small it is.
    minimum = block.minimum() + round_up(files.hint * work.workers(), MIB)
    _refuse_unmakeable(block, minimum)
    return minimum, block.written(preallocated) + notes


def _refuse_unmakeable(block: Superblock, size: int) -> None:
    """Raise Fixed if mkfs.xfs does not make such a filesystem that small, as with large blocks and a small log."""
    with tempfile.NamedTemporaryFile(prefix="lvpack-") as file:
        file.truncate(size)
        answer = run(["mkfs.xfs", "-N", *block.mkfs_options(size), file.name], ok=(0, 1))
    if answer.status:
        why = quoted(answer.stderr.splitlines()[:1]) or "it does not say why"
        raise Fixed(f"mkfs.xfs does not make it smaller: {why}")


def rebuild(device: str, original: str, size: int, folder: Path, contents: bool, tick: Callable[[], None]) -> list[str]:
    """Make the filesystem of `original` anew on device, of size bytes, with all its files, owners, quotas and times.

    Return in what the copy differs, for people; docs/xfs.md says what that can be. original is a device that may be
    written to, since its log is replayed; folder is for mounts. Names and attributes are compared with the original,
    with contents the contents of files as well. Raises Failed if a difference is fatal (trees/differences.py), or if
    the copy does not fit.
    """
    block = xfs_superblock.read(original)
    with Undo() as undo:
        old = xfs.mounted(original, folder / "old", undo, "ro")
        counts = os.statvfs(old)
        # What the log had of that is not in the superblock on the device (sb_icount).
        block = replace(block, inodes=max(block.inodes, counts.f_files - counts.f_ffree))
        run(["mkfs.xfs", "-f", "-q", "-K", *block.mkfs_options(size), device], tick=tick)
        groups, group = block.new_groups(size)
        if groups == 1:
            xfs_superblock.set_group_blocks(device, group // block.block_size)
        _refuse_other(device, block, size)
        with Undo() as writing:
            new = xfs.mounted(device, folder / "new", writing, block.quota_options())
            work.copy_tree(os.fspath(old), os.fspath(new), tick)
            # A timer runs where written blocks are beyond a limit.
            run(["sync"], tick=tick)
            for kind in block.quota_kinds():
                quotas.copy(kind, original, device, tick)
        # Mounted again, so that what is compared is what is on the device.
        new = xfs.mounted(device, folder / "new", undo, "ro", block.quota_options())
        others = [quotas.NAMES[kind] for kind in block.quota_kinds() if not quotas.same_limits(kind, original, device)]
        found = work.compare_trees(os.fspath(old), os.fspath(new), contents, tick)
        return found + [f"the quotas of {name} differ" for name in others]


def _refuse_other(device: str, block: Superblock, size: int) -> None:
    """Raise Failed unless mkfs.xfs has made what it was told to."""
    made = xfs_superblock.read(device)
    if made.size != size:
        raise Failed(f"cannot make XFS on '{device}' as it was: of {size:,} bytes mkfs.xfs has used {made.size:,}")
    if made.features() != block.features():
        raise Failed(f"cannot make XFS on '{device}' as it was: its features are not those of the original")
