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
# A last group that is smaller is left out when it grows (kernel: fs/xfs/libxfs/xfs_ag.h, XFS_MIN_AG_BLOCKS).
XFS_LEAST_BLOCKS = 64
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


def packed_groups(source: int, groups: int, group: int, size: int) -> tuple[int, int]:
    """Return how many allocation groups an XFS gets when it is made anew in size bytes, and the bytes of each.

    source, groups and group are the size of the original, how many groups it has and the bytes of one, the latter two 0
    if that is not known. It gets those that mkfs.xfs makes; two, which are larger, if with these it could not grow back
    to what it was; if with two neither, a single one as large as the original's, or as several of them where it does
    not fit into one, that is cut off where the filesystem ends. The bytes are 0 where mkfs.xfs chooses them.

    Several groups of the original's size would do as well, but mkfs.xfs puts the log into a middle one without a look
    at whether that is a last one, and too small (6.1 and 6.13: it fails after it has begun to write).
    """
    fewest = max(2, round_up(size, XFS_GROUP) // XFS_GROUP)
    for count in (xfs_groups(size), fewest):
        if xfs_most(size // count, source, groups) >= source:
            return count, 0
    if group and (large := round_up(size, group)) < XFS_GROUP:
        return 1, large
    return fewest, 0


def grown_content(lv: LogicalVolume, source: LogicalVolume, extent: int, extents: int) -> tuple[Content, str]:
    """Return what a packed LV holds when it has so many extents of extent bytes; and a warning if it cannot fill them.

    No more than on the source where the LV is no larger than that; never less than packed.
    """
    content, old = lv.content, source.content
    alone = single_group(lv.name, content) if has_single_group(content, old) else ""
    if extents == lv.extents or not (content.is_ext or content.type in ("xfs", "swap")):
        return content, alone
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
        group = content.group or round_up(content.size, groups) // groups
        most = round_down(xfs_most(group, size, old.groups), content.block_size)
        if size > most:
            return replace(content, size=most), too_many_groups(lv.name, size, most, -(-size // group))
        return replace(content, size=size), alone if size < group + XFS_LEAST_BLOCKS * content.block_size else ""
    return replace(content, size=size), ""


def ext_most(content: Content) -> int:
    """Return the bytes up to which an ext filesystem is grown."""
    return EXT_MOST.get(content.block_size, EXT_MOST_BLOCKS * content.block_size)


def has_single_group(packed: Content, source: Content) -> bool:
    """Return whether an XFS was made anew with a single allocation group, as packed_groups() has it."""
    return packed.type == "xfs" and packed.groups == 1 != source.groups


def single_group(name: str, content: Content) -> str:
    """Return the warning, for people, that an XFS still has the single allocation group that it was packed with."""
    return (
        f"the XFS on LV {name} has a single allocation group until it is larger than {human(content.group)}: "
        "xfs_repair looks at it only with -o force_geometry"
    )


def too_many_groups(name: str, size: int, most: int, groups: int) -> str:
    """Return the warning, for people, that an XFS of size bytes grows to most bytes only."""
    return (
        f"the XFS on LV {name} grows to {human(most)} and not to {human(size)}: it would have {groups} allocation "
        "groups then, which makes it slow; make it anew and copy its files if it has to be larger"
    )
