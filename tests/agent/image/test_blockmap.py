"""The block map leaves out free blocks, and only these, wherever LVM has put them."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.image import blockmap
from lvpack_agent.layout import ranges
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Lookup, Range
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import servers

# That of the stripes, so that a block lies on one PV.
BLOCK = 64 * KIB


def place(layout: Layout, lv: LogicalVolume, offset: int) -> tuple[int, int]:
    """Return the disk and the byte where a byte of an LV is, as lvs(8) and dm-stripe have it."""
    segment = next(s for s in reversed(lv.segments) if s.le * MIB <= offset)
    chunk, rest = divmod(offset - segment.le * MIB, BLOCK)
    area = segment.areas[chunk % len(segment.areas)]
    pv = layout.vgs[0].pv(area.pv)
    return pv.disk, layout.first_extent(pv) + area.pe * MIB + chunk // len(segment.areas) * BLOCK + rest


def free_blocks(draw: st.DrawFn, count: int) -> tuple[Range, ...]:
    """Draw ranges of blocks, apart and in order."""
    cuts = sorted(draw(st.sets(st.integers(0, count), max_size=6)))
    return tuple(Range(start=a, count=b - a) for a, b in pairwise(cuts))[::2]


@st.composite
def used(draw: st.DrawFn) -> Layout:
    """A server whose LVs are filesystems with free blocks."""
    layout = draw(servers(collapsible=False))
    [vg] = layout.vgs
    lvs = []
    for lv in vg.lvs:
        blocks = lv.extents * (MIB // BLOCK)
        content = Content(type="ext4", size=blocks * BLOCK, block_size=BLOCK, free=free_blocks(draw, blocks))
        lvs.append(replace(lv, content=content))
    return replace(layout, vgs=(replace(vg, lvs=tuple(lvs)),))


@given(used())
def test_every_block_in_use_is_mapped_and_every_free_one_is_not(layout: Layout) -> None:
    maps = [blockmap.of_disk(layout, (), index=index) for index in range(len(layout.disks))]
    free_bytes = 0
    for lv in layout.vgs[0].lvs:
        free = {n for part in lv.content.free for n in range(part.start, part.end)}
        free_bytes += len(free) * BLOCK
        for block in range(lv.content.size // BLOCK):
            disk, at = place(layout, lv, block * BLOCK)
            wanted = [] if block in free else [Range(start=at, count=BLOCK)]
            assert Lookup(maps[disk]).within(at, BLOCK) == wanted, (lv.name, block)
    mapped = sum(part.count for found in maps for part in found)
    assert mapped == sum(disk.size for disk in layout.disks) - free_bytes, "all else is mapped"


@given(servers())
def test_what_is_past_a_filesystem_is_left_out_only_if_its_lv_was_cut(layout: Layout) -> None:
    [vg] = layout.vgs
    content = Content(type="ext4", size=BLOCK, block_size=BLOCK)
    layout = replace(layout, vgs=(replace(vg, lvs=tuple(replace(lv, content=content) for lv in vg.lvs)),))
    whole = sum(disk.size for disk in layout.disks)

    def mapped(*shrunk: str) -> int:
        maps = (blockmap.of_disk(layout, shrunk, index=index) for index in range(len(layout.disks)))
        return sum(part.count for found in maps for part in found)

    assert mapped() == whole
    for lv in layout.vgs[0].lvs:
        assert mapped(lv.uuid) == whole - lv.extents * MIB + BLOCK


def test_of_swap_only_the_header_is_mapped() -> None:
    segment = Segment(le=0, pv="pv", pe=3, count=2)
    swap = Content(type="swap", size=2 * MIB, block_size=4 * KIB)
    layout = _one_pv(LogicalVolume(name="swap", uuid="swap", segments=(segment,), content=swap))
    first = 4 * MIB  # of the LV: after a MiB before extent 0, and three extents
    assert blockmap.of_disk(layout, ()) == (
        Range(start=0, count=first + 4 * KIB),
        Range(start=first + 2 * MIB, count=9 * MIB - first - 2 * MIB),
    )
    unknown = replace(swap, block_size=0)  # of another byte order: nobody made it anew
    layout = _one_pv(LogicalVolume(name="swap", uuid="swap", segments=(segment,), content=unknown))
    assert blockmap.of_disk(layout, ()) == (Range(start=0, count=9 * MIB),)


def _one_pv(lv: LogicalVolume) -> Layout:
    pv = PhysicalVolume(uuid="pv", disk=0, partition=0, size=9 * MIB, pe_start=MIB, extents=8)
    disk = Disk(path="/dev/vda", size=9 * MIB, sector_size=512, table=None)
    return Layout(disks=(disk,), vgs=(VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=(pv,), lvs=(lv,)),))


def test_a_filesystem_that_claims_too_much_frees_nothing_of_its_neighbour() -> None:
    first = Partition(number=1, start=MIB, size=MIB, type="83", content=Content(type="xfs"))
    second = Partition(number=2, start=2 * MIB, size=MIB, type="83")
    table = PartitionTable(label="dos", id="0x1", partitions=(first, second))
    layout = Layout(disks=(Disk(path="", size=4 * MIB, sector_size=512, table=table),), vgs=())
    free = (Range(start=KIB, count=KIB), Range(start=MIB // 2, count=3 * MIB), Range(start=5 * MIB, count=MIB))
    found = blockmap.of_disk(layout, (), {(0, 1): free})
    assert ranges.complement(found, 4 * MIB) == (
        Range(start=MIB + KIB, count=KIB),
        Range(start=MIB + MIB // 2, count=MIB // 2),
    )
