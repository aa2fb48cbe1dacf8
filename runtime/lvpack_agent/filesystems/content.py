"""What a block device holds: blkid(8) names it, the filesystem's own tools measure it."""

from collections.abc import Mapping
from dataclasses import replace

from lvpack_agent.filesystems import ext, swap, xfs_superblock
from lvpack_agent.filesystems.ext import Superblock
from lvpack_agent.layout.content import Content


def read(device: str, facts: Mapping[str, str], block: Superblock | None, *, estimate: bool = True) -> Content:
    """Return the content of a device, from blkid's facts and, for ext2/3/4, the superblock of a clean filesystem.

    Without estimate the minimum is left out: finding it takes resize2fs a while.
    """
    content = Content(type=facts.get("TYPE", ""), uuid=facts.get("UUID", ""), label=facts.get("LABEL", ""))
    if block:
        return Content(
            type=content.type,
            uuid=content.uuid,
            label=content.label,
            size=block.block_count * block.block_size,
            block_size=block.block_size,
            minimum=ext.minimum(device, block.block_size) if estimate else None,
            free=block.free,
            tables=block.tables,
        )
    if content.type == "xfs":
        known = xfs_superblock.read(device)
        return replace(
            content, size=known.size, block_size=known.block_size, groups=known.groups, group=known.group_size
        )
    if content.type == "swap" and (header := swap.read(device)):
        return Content(
            type=content.type,
            uuid=content.uuid,
            label=content.label,
            size=header.size,
            block_size=header.page_size,
        )
    return content
