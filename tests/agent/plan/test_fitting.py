"""Plans that fit a store: what is given away is as little as it can be, and never more than the LVs have."""

from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.plan.fitting import fitted
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.sizes import STORE_FLOOR
from lvpack_agent.plan.text import as_text, cost_of_fitting
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import MIB

BLOCK = 4096
MARGIN = Margin(percent=5)


def filesystem(extents: int, used: list[tuple[int, int]]) -> tuple[int, Content]:
    """Return an ext4 of so many extents of a MiB; used has (first, number of extents) that are full of files."""
    per = MIB // BLOCK
    free, at = [], 0
    for first, count in [*used, (extents, 0)]:
        if first > at:
            free.append(Range(start=at * per, count=(first - at) * per))
        at = first + count
    minimum = sum(count for _, count in used) * MIB
    content = Content(type="ext4", uuid="u", size=extents * MIB, block_size=BLOCK, minimum=minimum, free=tuple(free))
    return extents, content


def layout(*filesystems: tuple[int, Content]) -> Layout:
    lvs, pe = [], 0
    for number, (extents, content) in enumerate(filesystems):
        segment = Segment(le=0, pv="pv", pe=pe, count=extents)
        lvs.append(LogicalVolume(name=f"lv{number}", uuid=f"uuid{number}", segments=(segment,), content=content))
        pe += extents
    pv = PhysicalVolume(uuid="pv", disk=0, partition=1, size=(pe + 1) * MIB, pe_start=MIB, extents=pe)
    partition = Partition(
        number=1, start=MIB, size=(pe + 1) * MIB, type="8e", content=Content(type="LVM2_member", uuid="pv")
    )
    table = PartitionTable(label="dos", id="0x1", partitions=(partition,))
    disk = Disk(path="/dev/vda", size=(pe + 2) * MIB, sector_size=512, table=table)
    return Layout(disks=(disk,), vgs=(VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=(pv,), lvs=tuple(lvs)),))


# Root has 40 MiB at its start and 60 near its end; var 10, and 30 in the middle.
SERVER = layout(filesystem(400, [(0, 40), (300, 60)]), filesystem(200, [(0, 10), (90, 30)]))


def sizes(plan_of: Layout) -> list[int]:
    return [lv.extents for lv in plan_of.vgs[0].lvs]


def test_a_plan_that_fits_is_the_plan_that_the_margin_asks_for() -> None:
    wished = make_plan(SERVER, MARGIN)
    assert sizes(wished.target) == [105, 42]
    assert fitted(SERVER, MARGIN, wished.store) == wished


def test_the_filesystem_that_gives_most_for_its_space_is_shrunk_less() -> None:
    wished = make_plan(SERVER, MARGIN)
    plan = fitted(SERVER, MARGIN, wished.store - 20 * MIB)
    # 68 extents more of var spare 20 MiB (21.6 with what the store needs itself); root would need over 200 more.
    assert sizes(plan.target) == [105, 110]
    assert plan.store <= wished.store - 20 * MIB
    why = {step.object: step.reason for step in plan.rows}
    assert why["LV lv0"] == "minimum 100 MiB + 5%, in whole extents"
    assert why["LV lv1"] == "minimum 40.0 MiB + 5% takes a larger store than there is room for"
    assert why["LV lv1"] in as_text(plan)
    assert cost_of_fitting(plan, wished) == (
        "the disk is packed into 217 MiB, since there is no more room for the store; a store of 21.6 MiB more would "
        "make it 149 MiB"
    )


def test_a_plan_that_shrinks_nothing_is_possible() -> None:
    full = layout(filesystem(100, [(0, 40), (99, 1)]))
    plan = fitted(full, MARGIN, STORE_FLOOR)
    assert sizes(plan.target) == [100]
    assert plan.store == STORE_FLOOR
    assert plan.rows[0].verb == "keep"


def test_a_room_that_nothing_fits_gets_the_plan_with_the_smallest_store() -> None:
    assert fitted(SERVER, MARGIN, STORE_FLOOR - 1).store == STORE_FLOOR


def test_a_larger_margin_is_a_minimum() -> None:
    margin = Margin(percent=100)
    assert sizes(make_plan(SERVER, margin).target) == [200, 80]
    assert all(n >= least for n, least in zip(sizes(fitted(SERVER, margin, 60 * MIB).target), (200, 80), strict=True))


def test_a_large_filesystem_is_looked_at_in_steps() -> None:
    big = layout(filesystem(100_000, [(0, 1000), (50_000, 1000)]))
    wished = make_plan(big, MARGIN)
    plan = fitted(big, MARGIN, 100 * MIB)
    assert plan.store <= 100 * MIB < wished.store
    assert 51_000 <= sizes(plan.target)[0] <= 51_000 + 1000


@st.composite
def filesystems(draw: st.DrawFn) -> tuple[int, Content]:
    used, at = [], 0
    for hole, count in draw(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), min_size=1, max_size=4)):
        used.append((at + hole, count))
        at += hole + count
    return filesystem(at + draw(st.integers(0, 3)), used)


@settings(max_examples=60)
@given(st.lists(filesystems(), min_size=1, max_size=3), st.integers(0, 40))
def test_no_other_sizes_that_fit_make_a_smaller_disk(parts: list[tuple[int, Content]], more: int) -> None:
    source, room = layout(*parts), STORE_FLOOR + more * MIB
    least = make_plan(source, MARGIN)
    plan = fitted(source, MARGIN, room)
    assert plan.store <= room
    ranges = [range(a, b + 1) for a, b in zip(sizes(least.target), sizes(source), strict=True)]
    everything = (make_plan(source, MARGIN, {f"uuid{i}": n for i, n in enumerate(ns)}) for ns in product(*ranges))
    smallest = min(p.packed_size for p in everything if p.store <= room)
    assert plan.packed_size <= smallest + MIB  # combinations that need nearly the same are not told apart
    assert replace(plan, target=least.target, rows=(), moves=(), store=0).source == least.source


def xfs(extents: int, minimum: int, rebuilt: int) -> tuple[int, Content]:
    """Return an XFS of so many extents of a MiB; minimum and rebuilt in MiB."""
    content = Content(type="xfs", uuid="x", size=extents * MIB, block_size=BLOCK, minimum=minimum * MIB)
    return extents, replace(content, rebuilt=rebuilt * MIB)


def test_an_xfs_is_made_anew_if_the_store_has_room_for_its_files() -> None:
    source = layout(xfs(1000, 400, 350))
    wished = make_plan(source, MARGIN)
    assert sizes(wished.target) == [420]
    assert wished.target.vgs[0].lvs[0].content.size == 420 * MIB
    assert wished.store == STORE_FLOOR + 350 * MIB
    assert wished.rows[0].reason == "made anew: minimum 400 MiB + 5%, in whole extents"
    less = fitted(source, MARGIN, wished.store - 1)
    assert sizes(less.target) == [1000]
    assert less.target.vgs[0].lvs[0] == source.vgs[0].lvs[0]
    assert less.store == STORE_FLOOR
    assert less.rows[0].reason == "kept whole: the store has no room for making it anew"


def test_the_store_is_shared_so_that_the_disk_gets_smallest() -> None:
    # The XFS would give 600 MiB for 350; the ext4 gives 300 for 40.
    source = layout(xfs(1000, 400, 350), filesystem(400, [(0, 40), (360, 40)]))
    assert sizes(fitted(source, MARGIN, STORE_FLOOR + 60 * MIB).target) == [1000, 84]
    assert sizes(fitted(source, MARGIN, STORE_FLOOR + 360 * MIB).target) == [420, 393]
    assert sizes(fitted(source, MARGIN, STORE_FLOOR + 400 * MIB).target) == [420, 84]


def test_an_xfs_that_would_hardly_get_smaller_is_not_copied() -> None:
    plan = make_plan(layout(xfs(1000, 900, 800)), MARGIN)
    assert sizes(plan.target) == [1000]
    assert plan.store == STORE_FLOOR
    assert plan.rows[0].reason == "kept whole: it would hardly get smaller"
