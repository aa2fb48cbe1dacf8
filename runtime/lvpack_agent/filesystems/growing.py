"""Filesystems and swap on LVs that have grown, made larger on a disk that nobody uses yet."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lvpack_agent.errors import Failed, understood
from lvpack_agent.filesystems import resize, xfs, xfs_superblock
from lvpack_agent.layout.content import Content
from lvpack_agent.plan.grow_contents import XFS_LEAST_BLOCKS, too_many_groups, xfs_most
from lvpack_agent.processes import run
from lvpack_agent.sizes import human, round_down
from lvpack_agent.undo import Undo

# The superblock of ext2/3/4 (kernel: fs/ext4/ext4.h, struct ext4_super_block): blocks and size of a block, blocks of a
# group; the upper half of the number of blocks counts with the feature 64bit.
_SUPERBLOCK = 1024
_BLOCKS, _BLOCK_SIZE, _GROUP_BLOCKS, _INCOMPATIBLE, _BLOCKS_HIGH = 0x4, 0x18, 0x20, 0x60, 0x150
_RO_COMPATIBLE = 0x64
_64BIT, _BIGALLOC = 0x80, 0x200


def grow(
    device: str,
    name: str,
    old: Content,
    wanted: Content,
    source_groups: int,
    folder: Path,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Content:
    """Make what an LV holds as large as wanted; return it with the size that it has then.

    That can be a little less, by what the filesystem takes for too small a last group; and an XFS does not grow beyond
    the groups that it may have (plan.grow_contents), which is a warning. name is the LV's, source_groups are those that
    an XFS had on the source, 0 if that is not known. folder is for a mount. Raises Failed that names the LV.
    """
    try:
        if wanted.size <= old.size:
            return old
        if wanted.is_ext and is_bigalloc(device):
            warn(
                f"the {wanted.type} on LV {name} keeps the {human(old.size)} that it is packed into: resize2fs takes a "
                "growing filesystem with bigalloc for untested; resize2fs -f makes it larger, at your own risk"
            )
            return old
        if wanted.is_ext:
            return _ext(device, name, wanted, folder, say)
        if wanted.type == "xfs":
            return _xfs(device, name, wanted, source_groups, folder, say, warn)
        say(f"make swap on LV {name} anew: {human(old.size)} to {human(wanted.size)}")
        resize.make_swap(device, wanted)
        return wanted
    except Failed as failed:
        raise Failed(f"cannot grow LV '{name}': {failed.message}", remains=failed.remains) from failed


def _ext(device: str, name: str, wanted: Content, folder: Path, say: Callable[[str], None]) -> Content:
    def nothing() -> None:
        """Wait without a word: the session says the phase."""

    done = resize.check_filesystem(device, f"LV {name}", say, nothing)
    if done.corrected or done.damage:
        raise Failed(done.corrected or done.damage)
    for finding in resize.resize_filesystem(device, f"LV {name}", wanted, folder, say, nothing):
        raise Failed(finding)
    size, group = ext_sizes(device)
    return _made(wanted, size, group)


def _xfs(
    device: str,
    name: str,
    wanted: Content,
    source_groups: int,
    folder: Path,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Content:
    block = xfs_superblock.read(device)
    group = block.group_size
    size = round_down(min(wanted.size, xfs_most(group, wanted.size, source_groups)), block.block_size)
    if size < wanted.size:
        warn(too_many_groups(name, wanted.size, size, -(-wanted.size // group)))
    if size > block.size:
        say(f"grow LV {name} from {human(block.size)} to {human(size)}")
        with Undo() as undo:
            at = xfs.mounted(device, folder, undo, "nosuid", "nodev")
            run(["xfs_growfs", "-D", str(size // block.block_size), at])
    xfs.check(device)
    grown = xfs_superblock.read(device)
    return _made(_sized(wanted, max(size, block.size)), grown.size, XFS_LEAST_BLOCKS * block.block_size)


def _sized(content: Content, size: int) -> Content:
    return replace(content, size=size)


def _made(wanted: Content, size: int, slack: int) -> Content:
    """Return a content of the size that it was made. Raises Failed if that is not about what was wanted."""
    if not wanted.size - slack < size <= wanted.size:
        raise Failed(f"it has {size:,} bytes now, not {wanted.size:,}")
    return _sized(wanted, size)


@understood("the superblock of an ext filesystem")
def ext_sizes(device: str) -> tuple[int, int]:
    """Return the bytes of an ext filesystem and those of each of its block groups."""
    size, low, high, group, incompatible = _numbers(
        device, _BLOCK_SIZE, _BLOCKS, _BLOCKS_HIGH, _GROUP_BLOCKS, _INCOMPATIBLE
    )
    block = 1024 << size
    return (low | (high << 32 if incompatible & _64BIT else 0)) * block, group * block


@understood("the superblock of an ext filesystem")
def is_bigalloc(device: str) -> bool:
    """Return whether the blocks of an ext filesystem are allocated in clusters."""
    [features] = _numbers(device, _RO_COMPATIBLE)
    return bool(features & _BIGALLOC)


def _numbers(device: str, *offsets: int) -> list[int]:
    """Return 32-bit numbers of an ext superblock."""
    with Path(device).open("rb") as file:
        file.seek(_SUPERBLOCK)
        data = file.read(_SUPERBLOCK)
    return [int(struct.unpack_from("<I", data, offset)[0]) for offset in offsets]
