"""How small each LV becomes, and what that costs the copy-on-write store, in bytes."""

from collections.abc import Mapping
from dataclasses import replace

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.plan.compact import truncated, whole_stripes
from lvpack_agent.plan.grow_contents import packed_groups
from lvpack_agent.plan.values import Plan, Row
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import MIB, human, round_down, round_up

# A snapshot's chunk of 4 KiB costs 16 bytes in its exception table (kernel: dm-snap-persistent, dm-snap-transient);
# metadata of moved files and directories is rewritten as well. Measured on the sample server: 3 to 6 %.
STORE_OVERHEAD = 1.08
STORE_FLOOR = 8 * MIB
# Growing writes inode tables: at most 256 bytes for each 4 KiB of a filesystem (mke2fs.conf(5), "small").
GROW_OVERHEAD = 1 / 16

# An XFS must lose this part of its size to be worth a copy of all its files.
REBUILD_GAIN = 1 / 16

# By the type of what an LV holds: why it keeps its size.
_WHOLE = {"": "no filesystem is recognised", "xfs": "an XFS that is not made anew"}


def shrunk_lvs(vg: VolumeGroup, margin: Margin, least: Mapping[str, int]) -> tuple[VolumeGroup, list[Row]]:
    """Return the VG with its LVs shrunk, and the rows that say so; least has the fewest extents of LVs by UUID."""
    lvs, rows = [], []
    for lv in vg.lvs:
        new, reason = _shrunk(lv, vg.extent_size, margin, least.get(lv.uuid, 0))
        lvs.append(new)
        rows.append(
            Row(
                verb="keep" if new.extents == lv.extents else "shrink",
                object=f"LV {lv.name}",
                type=lv.content.type or "unknown",
                before=lv.extents * vg.extent_size,
                after=new.extents * vg.extent_size,
                reason=reason,
            )
        )
    return replace(vg, lvs=tuple(lvs)), rows


def _shrunk(lv: LogicalVolume, extent: int, margin: Margin, least: int) -> tuple[LogicalVolume, str]:
    content = lv.content
    if content.minimum is not None:
        wanted = content.minimum + margin.of(content.minimum)
        extents = round_up(min(wanted, lv.extents * extent), extent) // extent
        new = truncated(lv, whole_stripes(lv, min(max(extents, least), lv.extents)))
        small = resized(content, new.extents * extent)
        if content.rebuilt and small.size > content.size * (1 - REBUILD_GAIN):
            return lv, "kept whole: " + (
                "it would hardly get smaller" if extents >= least else "the store has no room for making it anew"
            )
        reason = f"{'made anew: ' if content.rebuilt else ''}minimum {human(content.minimum)} + {margin}"
        reason += ", in whole extents" if extents >= least else " takes a larger store than there is room for"
        if content.rebuilt:
            groups, group = packed_groups(content.size, content.groups, content.group, small.size)
            small = replace(small, groups=groups, group=group)
        return replace(new, content=small), reason
    if content.type == "swap" and content.block_size:
        new = truncated(lv, whole_stripes(lv, 1))
        return replace(
            new, content=resized(content, new.extents * extent)
        ), "one extent; UUID, label and page size stay"
    return lv, f"kept whole: {_WHOLE.get(content.type, 'neither ext2/3/4, XFS nor swap')}"


def resized(content: Content, room: int) -> Content:
    """Return a filesystem or swap area as it is made in room bytes: whole blocks, and not more than it has."""
    return replace(content, size=min(content.size, round_down(room, content.block_size)))


def store_needed(plan: Plan) -> int:
    """Return the bytes that resize2fs, e2fsck, mkswap and LVM will write, at most, by the block bitmaps."""
    return STORE_FLOOR + sum(rewritten(old.content, new.content) for old, new in plan.lvs())


def rewritten(old: Content, new: Content) -> int:
    """Return the bytes that resizing an ext filesystem, or making an XFS anew, writes at most."""
    if new.size == old.size or not (old.is_ext or old.rebuilt):
        return 0
    if old.rebuilt:
        return old.rebuilt
    if new.size > old.size:
        return int((new.size - old.size) * GROW_OVERHEAD)
    return int(old.used_beyond(new.size) * STORE_OVERHEAD)
