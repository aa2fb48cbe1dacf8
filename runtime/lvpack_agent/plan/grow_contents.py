"""How large a filesystem or swap area becomes on an LV that has grown, and the limits that it has; arithmetic."""

from dataclasses import replace

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.sizes import GIB, KIB, TIB, human, round_down, round_up

# Allocation groups of a TiB at most, four of them up to 4 TiB, as mkfs.xfs makes them on one disk (xfsprogs:
# libfrog/topology.c, calc_default_ag_geometry()).
XFS_GROUPS, XFS_GROUP = 4, TIB
# More groups cost: with 13,982 of them a mount took seconds and xfs_repair did not end (tried). XFS grows by adding
# groups of the size that it has.
XFS_MOST_GROUPS = 32
# Without meta_bg the descriptors of all groups have to fit into a group beside its own tables, and without 64bit a
# filesystem has 2^32 blocks. Which of these one has is not known here. With blocks of 1 KiB resize2fs 1.47.0 made 512
# GiB and refused a TiB, with blocks of 2 KiB it made 4 TiB (tried).
EXT_MOST = {1 * KIB: 512 * GIB, 2 * KIB: 4 * TIB}
EXT_MOST_BLOCKS = (1 << 32) - 1


def xfs_groups(size: int) -> int:
    """Return how many allocation groups mkfs.xfs makes of size bytes."""
    return max(XFS_GROUPS, round_up(size, XFS_GROUP) // XFS_GROUP)


def xfs_most(group: int, size: int, source_groups: int) -> int:
    """Return the bytes up to which an XFS of groups of so many bytes may grow if size bytes are wanted.

    It gets no more groups than the largest of these: what the source had (0: not known), twice what mkfs.xfs makes, 32.
    """
    return group * max(source_groups, 2 * xfs_groups(size), XFS_MOST_GROUPS)


def packed_groups(source: int, size: int) -> int:
    """Return how many allocation groups an XFS of source bytes gets when it is made anew, smaller, in size bytes.

    Two, which are larger, if with those that mkfs.xfs makes it could not grow back to what it was; mkfs.xfs makes none
    with a single one, as xfs_repair compares the superblocks of two.
    """
    usual = xfs_groups(size)
    return usual if xfs_most(size // usual, source, 0) >= source else max(2, round_up(size, XFS_GROUP) // XFS_GROUP)


def grown_content(lv: LogicalVolume, source: LogicalVolume, extent: int, extents: int) -> tuple[Content, str]:
    """Return what a packed LV holds when it has so many extents of extent bytes; and a warning if it cannot fill them.

    No more than on the source where the LV is no larger than that; never less than packed.
    """
    content, old = lv.content, source.content
    if extents == lv.extents or not (content.is_ext or content.type in ("xfs", "swap")):
        return content, ""
    if not content.size:
        return content, f"LV {lv.name} grows, the {content.type} on it does not: the set does not say how large it is"
    size = round_down(extents * extent, content.block_size)
    if old.size and extents <= source.extents:
        size = min(size, old.size)
    size = max(size, content.size)
    if content.is_ext and size > (most := max(old.size, ext_most(content))):
        return replace(content, size=most), (
            f"the {content.type} on LV {lv.name} grows to {human(most)} and not to {human(size)}: with blocks of "
            f"{human(content.block_size)} it may have no room for the descriptors of its groups"
        )
    if content.type == "xfs":
        groups = content.groups or xfs_groups(content.size)
        group = round_up(content.size, groups) // groups
        most = round_down(xfs_most(group, size, old.groups), content.block_size)
        if size > most:
            return replace(content, size=most), too_many_groups(lv.name, size, most, -(-size // group))
    return replace(content, size=size), ""


def ext_most(content: Content) -> int:
    """Return the bytes up to which an ext filesystem is grown."""
    return EXT_MOST.get(content.block_size, EXT_MOST_BLOCKS * content.block_size)


def too_many_groups(name: str, size: int, most: int, groups: int) -> str:
    """Return the warning, for people, that an XFS of size bytes grows to most bytes only."""
    return (
        f"the XFS on LV {name} grows to {human(most)} and not to {human(size)}: it would have {groups} allocation "
        "groups then, which makes it slow; make it anew and copy its files if it has to be larger"
    )
