"""What a restore makes of its targets: any layout on any disk, and the cases that people ask about."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.layout.extents import Area, Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.plan.grow import Growth, grown
from lvpack_agent.plan.grow_contents import packed_groups, xfs_most
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.text import restore_text
from lvpack_agent.plan.values import BIOS_BOOT, Plan
from lvpack_agent.settings.growing import grow as read
from lvpack_agent.sizes import GIB, KIB, MIB, TIB, human
from tests.agent.builders.layouts import MARGIN, blog_layout, ext, extent_owners, servers


def disks_of(plan: Plan, *sizes: int) -> list[Disk]:
    """Return targets of such sizes for the packed disks of a plan."""
    return [
        Disk(path=f"/dev/sd{n}", size=size, sector_size=512, table=None)
        for n, (size, _) in enumerate(zip(sizes, plan.target.disks, strict=True))
    ]


def growth_of(plan: Plan, *sizes: int, rules: str = "source", memory: int | None = None) -> Growth:
    return grown(plan, plan.target, disks_of(plan, *sizes), read(rules), memory)


def extents(layout: Layout) -> dict[str, int]:
    return {lv.name: lv.extents for vg in layout.vgs for lv in vg.lvs}


def free(layout: Layout) -> int:
    [vg] = layout.vgs
    return sum(pv.extents for pv in vg.pvs) - sum(lv.extents for lv in vg.lvs)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Servers whose LVs hold what shrinks, packed."""
    layout = draw(servers(collapsible=False))
    kept = draw(st.integers(1, len(layout.disks)))
    if any(disk.table for disk in layout.disks[kept:]):
        kept = len(layout.disks)

    def content(lv: LogicalVolume) -> Content:
        size = lv.extents * MIB
        kinds = [Content(), ext(size, draw(st.integers(1, size))), replace(ext(size, size // 3), type="ext2")]
        kinds += [Content(type="swap", size=size, block_size=4096)]
        kinds += [Content(type="xfs", size=size, block_size=4096, minimum=size // 3, rebuilt=1)]
        return draw(st.sampled_from(kinds))

    vgs = tuple(replace(vg, lvs=tuple(replace(lv, content=content(lv)) for lv in vg.lvs)) for vg in layout.vgs)
    return make_plan(replace(layout, vgs=vgs), MARGIN, kept=kept)


@st.composite
def growths(draw: st.DrawFn) -> Growth:
    """Plans on disks of any size that they fit on, by any policy."""
    plan = draw(plans())
    sizes = []
    for packed, source in zip(plan.target.disks, plan.source.disks, strict=False):
        least = max(packed.size, draw(st.sampled_from([packed.size, source.size, packed.size * 2, source.size * 3])))
        sizes.append(least + draw(st.sampled_from([0, 0, 512, MIB, 7 * MIB + 1024])))
    lv = plan.target.vgs[0].lvs[0]
    rules = ["source", "fill", "none", f"{lv.name}=max", f"vg/{lv.name}=50%", f"{lv.name}=packed"]
    return growth_of(plan, *sizes, rules=draw(st.sampled_from(rules)))


@given(growths())
def test_each_extent_has_one_owner_and_packed_ones_stay(growth: Growth) -> None:
    for old, new in zip(growth.packed.vgs, growth.target.vgs, strict=True):
        before, after = extent_owners(old), extent_owners(new)
        assert before.items() <= after.items()
        assert len(after) == sum(lv.extents for lv in new.lvs), "no extent is used twice"
        sizes = {pv.uuid: pv.extents for pv in new.pvs}
        assert all(pe < sizes[pv] for pv, pe in after)
        for volume in new.lvs:
            counts = [s.count for s in volume.segments]
            assert [s.le for s in volume.segments] == [sum(counts[:n]) for n in range(len(counts))]
            assert all(s.count % len(s.areas) == 0 for s in volume.segments)


@given(growths())
def test_all_fits_and_nothing_is_smaller_than_packed(growth: Growth) -> None:
    for packed, disk in zip(growth.packed.disks, growth.target.disks, strict=True):
        rows, end = disk.in_order(), 0
        for row in rows:
            assert row.start >= end and row.start % 512 == row.size % 512 == 0
            end = row.end
        gpt = bool(disk.table and disk.table.label == "gpt")
        assert end <= disk.size - (33 * 512 if gpt and disk.size > packed.size else 0)
        for old, new in zip(packed.rows, disk.rows, strict=True):
            assert new.size >= old.size and replace(new, start=old.start, size=old.size) == old
    for vg in growth.target.vgs:
        for pv in vg.pvs:
            room = growth.target.pv_end(pv) - growth.target.pv_start(pv)
            assert pv.least_size(vg.extent_size) <= pv.size <= room
    for _, small, large in growth.lvs():
        assert large.extents >= small.extents and large.content.size >= small.content.size
        assert large.content.size <= large.extents * MIB


@given(growths())
def test_each_partition_goes_to_its_new_place_and_no_byte_to_two(growth: Growth) -> None:
    for places, packed, disk in zip(growth.places, growth.packed.disks, growth.target.disks, strict=True):
        end = to = 0
        for place in places:
            assert place.start >= end and place.to >= to
            end, to = place.start + place.count, place.to + place.count
        assert end <= packed.size and to <= disk.size
        for old, new in zip(packed.in_order(), disk.in_order(), strict=True):
            [place] = [p for p in places if p.start <= old.start < p.start + p.count]
            assert old.end <= place.start + place.count
            assert place.to + old.start - place.start == new.start


@given(plans())
def test_a_disk_as_large_as_the_source_has_its_sizes_again(plan: Plan) -> None:
    growth = growth_of(plan, *(max(s.size, t.size) for s, t in zip(plan.source.disks, plan.target.disks, strict=False)))
    if len(plan.source.disks) > len(plan.target.disks):
        return
    assert growth == growth_of(
        plan, *(max(s.size, t.size) for s, t in zip(plan.source.disks, plan.target.disks, strict=False))
    )
    for old, new in zip(plan.source.vgs[0].lvs, growth.target.vgs[0].lvs, strict=True):
        if any(f"LV {new.name} grows less than it should" in warning for warning in growth.warnings):
            continue  # its stripes went on on other PVs
        stripes = len(new.segments[-1].areas)
        assert old.extents - stripes < new.extents <= old.extents
        if stripes == 1 and old.content.type != "xfs":
            assert new.content == old.content
    for before, after in zip(plan.source.disks, growth.target.disks, strict=True):
        if before.table and after.table and after.size >= before.size:
            assert [row.start for row in after.rows] == [row.start for row in before.rows]


@given(growths())
def test_the_plan_has_a_row_for_all_that_there_is(growth: Growth) -> None:
    target = growth.target
    names = [f"disk {disk.path}" for disk in target.disks]
    names += [target.partition_name(n, row.number) for n, disk in enumerate(target.disks) for row in disk.rows]
    names += [f"LV {lv.name}" for vg in target.vgs for lv in vg.lvs] + [f"free in VG {vg.name}" for vg in target.vgs]
    assert sorted(row.object for row in growth.rows) == sorted(names)
    text = restore_text(growth, "one")
    assert all(name in text for name in names)


@pytest.fixture
def server(blog: Path) -> Plan:
    """Root, var and tmp on ext4, and swap, in extents of 32 MiB: 80, 48, 16 and 16 of them, packed into 18, 7, 2, 1."""
    return make_plan(blog_layout(blog), MARGIN)


def test_the_sample_server_has_its_sizes_again(server: Plan) -> None:
    growth = growth_of(server, 12 * GIB)
    assert extents(growth.target) == extents(server.source)
    assert free(growth.target) == free(server.source)
    assert growth.target.disks[0].rows[0] == server.source.disks[0].rows[0]
    assert [lv.content for lv in growth.target.vgs[0].lvs] == [lv.content for lv in server.source.vgs[0].lvs]
    assert growth.warnings == ()
    twice = growth_of(server, 24 * GIB)
    assert extents(twice.target) == extents(server.source)
    assert free(twice.target) == free(server.source) + 12 * GIB // (32 * MIB)
    assert twice.target.disks[0].rows[1].end == 24 * GIB


def test_on_a_smaller_disk_each_gets_a_share_of_what_it_lost(server: Plan) -> None:
    growth = growth_of(server, server.packed_size + 66 * 32 * MIB)
    # They lost 62, 15, 14 and 41 extents: half of that, and what rounding leaves to who lost most.
    assert extents(growth.target) == {"root": 18 + 31 + 1, "swap": 1 + 7, "tmp": 2 + 7, "var": 7 + 20}
    assert free(growth.target) == 0
    why = {row.object: row.reason for row in growth.rows}
    assert why["LV tmp"] == "50% of what it lost: the disk is smaller than the source"


def test_nothing_grows_on_a_disk_of_the_packed_size(server: Plan) -> None:
    assert growth_of(server, server.packed_size).is_none
    assert growth_of(server, 24 * GIB, rules="none").is_none
    assert not growth_of(server, server.packed_size + 64 * MIB).is_none


def test_fill_shares_what_is_left_but_leaves_swap_and_the_free_space(server: Plan) -> None:
    growth = growth_of(server, 24 * GIB, rules="fill")
    assert extents(growth.target)["swap"] == 16
    assert free(growth.target) == free(server.source)
    added = 12 * GIB // (32 * MIB)
    more = {name: count - extents(server.source)[name] for name, count in extents(growth.target).items()}
    assert sum(more.values()) == added
    assert more["root"] == pytest.approx(added * 80 / 144, abs=1)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("var=10G", {"var": 320}),
        ("vg0/var=+1G,swap=packed", {"var": 7 + 32, "swap": 1}),
        ("root=packed,tmp=packed,var=packed,swap=packed", {"root": 18, "var": 7, "tmp": 2, "swap": 1}),
        ("swap=ram", {"swap": 64}),
        ("tmp=max", {"root": 80, "var": 48, "swap": 16}),
        ("root=source,var=4G", {"root": 80, "var": 128}),
    ],
)
def test_rules_set_the_size_of_what_they_name(server: Plan, rules: str, expected: dict[str, int]) -> None:
    rules = rules.replace("vg0", server.source.vgs[0].name)
    growth = growth_of(server, 24 * GIB, rules=rules, memory=2 * GIB)
    assert expected.items() <= extents(growth.target).items()
    if "max" in rules:
        assert free(growth.target) == 0


def test_shares_are_of_what_was_free_before_any_rule(server: Plan) -> None:
    room = growth_of(server, 24 * GIB, rules="none").target
    there = growth_of(server, 24 * GIB).target.vgs[0].pvs[0].extents - sum(extents(room).values())
    growth = growth_of(server, 24 * GIB, rules="var=50%,root=25%,swap=packed,tmp=packed")
    found = extents(growth.target)
    assert (found["var"], found["root"]) == (7 + there // 2, 18 + there // 4)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("nowhere=5G", "there is no LV 'nowhere'"),
        ("/var=5G", "no LV of the image set is mounted at '/var': it knows no mount points"),
        ("root=1M", "is packed into 576 MiB"),
        ("root=100G", "want 99.* more than is packed, and there are 10"),
        ("root=60%,var=41%", "share out 101%"),
        ("root=50%,var=6G", "more than is packed"),
        ("root=ram", "is no swap area"),
        ("swap=ram", "is not known here"),
        ("root=5G,VG/root=6G", "is also what 'root=5G' names"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_the_figures(server: Plan, rules: str, words: str) -> None:
    rules = rules.replace("VG", server.source.vgs[0].name)
    with pytest.raises(Refused, match=words) as refused:
        growth_of(server, 12 * GIB, rules=rules)
    assert refused.value.message.startswith("cannot ") and refused.value.hint


def test_a_mount_point_names_what_is_mounted_there(server: Plan) -> None:
    mounts = {"/var": next(lv.uuid for lv in server.target.vgs[0].lvs if lv.name == "var")}
    growth = grown(server, server.target, disks_of(server, 24 * GIB), read("/var=10G"), None, mounts)
    assert extents(growth.target)["var"] == 320
    with pytest.raises(Refused, match="is mounted at '/srv': it knows /var"):
        grown(server, server.target, disks_of(server, 24 * GIB), read("/srv=10G"), None, mounts)


def test_an_ambiguous_name_is_refused(server: Plan) -> None:
    [vg] = server.target.vgs
    labelled = tuple(replace(lv, content=replace(lv.content, label="data")) for lv in vg.lvs)
    packed = replace(server.target, vgs=(replace(vg, lvs=labelled),))
    with pytest.raises(Refused, match="name or the label of several LVs") as refused:
        grown(server, packed, disks_of(server, 12 * GIB), read("data=5G"), None)
    assert f"{vg.name}/root" in refused.value.hint


def test_a_set_that_lies_about_its_sizes_is_not_believed(server: Plan) -> None:
    [vg] = server.source.vgs
    [pv] = vg.pvs
    for wrong in (replace(vg, pvs=(replace(pv, extents=1 << 40),)), replace(vg, pvs=(replace(pv, extents=9),))):
        source = replace(server.source, vgs=(wrong,))
        with pytest.raises(Failed, match="cannot trust the image set"):
            growth_of(replace(server, source=source), 12 * GIB)


def lone_server(label: str, *rows: tuple[int, int, str], size: int, lvs: tuple[LogicalVolume, ...]) -> Layout:
    """A disk with such partitions in MiB (start, size, type); type "pv" is that of its PV."""
    partitions = tuple(
        Partition(number=n, start=start * MIB, size=count * MIB, type="8e" if kind == "pv" else kind)
        for n, (start, count, kind) in enumerate(rows, 1)
    )
    number = next(n for n, (_, _, kind) in enumerate(rows, 1) if kind == "pv")
    pv_size = partitions[number - 1].size
    pv = PhysicalVolume(
        uuid="pv", disk=0, partition=number, size=pv_size, pe_start=MIB, extents=(pv_size - MIB) // (4 * MIB)
    )
    table = PartitionTable(label=label, id="0x1", partitions=partitions)
    disk = Disk(path="/dev/vda", size=size, sector_size=512, table=table)
    return Layout(disks=(disk,), vgs=(VolumeGroup(name="vg", uuid="vg", extent_size=4 * MIB, pvs=(pv,), lvs=lvs),))


def lv(name: str, count: int, content: Content, pe: int = 0) -> LogicalVolume:
    return LogicalVolume(name=name, uuid=name, segments=(Segment(le=0, pv="pv", pe=pe, count=count),), content=content)


def test_what_stands_after_the_pv_goes_back_to_the_end() -> None:
    root = lv("root", 200, ext(800 * MIB, 100 * MIB))
    rows = ((1, 1, BIOS_BOOT), (2, 1000, "pv"), (1002, 20, "83"))
    plan = make_plan(lone_server("gpt", *rows, size=1024 * MIB, lvs=(root,)), MARGIN)
    assert plan.target.disks[0].rows[2].start < 200 * MIB
    same = growth_of(plan, 1024 * MIB).target.disks[0]
    assert [(row.start, row.size) for row in same.rows] == [(s * MIB, n * MIB) for s, n, _ in rows]
    larger = growth_of(plan, 2048 * MIB)
    assert larger.target.disks[0].rows[2].start == (1002 + 1024) * MIB
    assert larger.target.disks[0].rows[1].end == larger.target.disks[0].rows[2].start
    smaller = growth_of(plan, 512 * MIB).target.disks[0]
    assert smaller.rows[2].end == 511 * MIB
    assert smaller.rows[1].end == smaller.rows[2].start
    assert not larger.warnings


def test_a_boot_partition_elsewhere_than_on_the_source_is_a_warning() -> None:
    root = lv("root", 200, ext(800 * MIB, 100 * MIB))
    rows = ((1, 1000, "pv"), (1001, 1, BIOS_BOOT))
    plan = make_plan(lone_server("gpt", *rows, size=1024 * MIB, lvs=(root,)), MARGIN)
    assert [len(growth_of(plan, size * MIB).warnings) for size in (512, 1024)] == [1, 0]
    larger = growth_of(plan, 2048 * MIB)
    assert larger.target.disks[0].rows == plan.source.disks[0].rows, "GRUB has the number of its sector"
    assert extents(larger.target) == extents(plan.source)
    [warning] = larger.warnings
    assert "stays where GRUB was told to find it, so 1.00 GiB of the disk stay unused" in warning


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_gap_that_stays_goes_along_as_a_whole(label: str) -> None:
    """In that of an msdos disk is the boot record of the extended partition; nobody knows what is in others."""
    root = lv("root", 100, ext(400 * MIB, 50 * MIB))
    layout = lone_server(label, (1, 64, "83"), (565, 450, "pv"), size=1024 * MIB, lvs=(root,))
    plan = make_plan(layout, MARGIN)
    first = plan.target.disks[0].rows[1].start
    assert first == 565 * MIB
    for size in (1024, 4096):
        places = growth_of(plan, size * MIB).places[0]
        assert [(place.start, place.to) for place in places] == [(0, 0), (65 * MIB, 65 * MIB)]


def test_each_lv_grows_on_the_pvs_that_it_was_on() -> None:
    """What is on one disk only must not die with another one."""
    one = LogicalVolume(
        name="one",
        uuid="one",
        segments=(Segment(le=0, pv="a", pe=0, count=100), Segment(le=100, pv="b", pe=0, count=900)),
        content=ext(1000 * MIB, 50 * MIB),
    )
    two = LogicalVolume(
        name="two", uuid="two", segments=(Segment(le=0, pv="a", pe=100, count=600),), content=ext(600 * MIB, 50 * MIB)
    )
    pvs = tuple(
        PhysicalVolume(uuid=name, disk=n, partition=1, size=1001 * MIB, pe_start=MIB, extents=1000)
        for n, name in enumerate("ab")
    )
    table = PartitionTable(
        label="gpt", id="0x1", partitions=(Partition(number=1, start=MIB, size=1001 * MIB, type="8e"),)
    )
    disks = tuple(Disk(path=f"/dev/vd{n}", size=1003 * MIB, sector_size=512, table=table) for n in "ab")
    vg = VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=pvs, lvs=(one, two))
    plan = make_plan(Layout(disks=disks, vgs=(vg,)), MARGIN, kept=2)
    [new] = growth_of(plan, 1003 * MIB, 1003 * MIB).target.vgs
    on = [
        {pv: sum(s.count for s in lv.segments if s.pv == pv) for pv in dict.fromkeys(s.pv for s in lv.segments)}
        for lv in new.lvs
    ]
    assert on == [{"a": 100, "b": 900}, {"a": 600}]


def test_fill_leaves_what_was_kept_whole() -> None:
    kept = lv("kept", 50, replace(ext(200 * MIB, 50 * MIB), minimum=None), 200)
    layout = lone_server(
        "gpt", (1, 1022, "pv"), size=1024 * MIB, lvs=(lv("root", 200, ext(800 * MIB, 100 * MIB)), kept)
    )
    filled = growth_of(make_plan(layout, MARGIN), 4096 * MIB, rules="fill")
    assert extents(filled.target)["kept"] == 50 and extents(filled.target)["root"] > 900


def test_a_logical_pv_takes_its_extended_partition_along() -> None:
    root = lv("root", 200, ext(800 * MIB, 100 * MIB))
    layout = lone_server("dos", (1, 9, "83"), (10, 1000, "5"), (11, 999, "pv"), size=1024 * MIB, lvs=(root,))
    [disk], [vg] = layout.disks, layout.vgs
    assert disk.table
    first, second, third = disk.rows
    table = replace(disk.table, partitions=(first, second, replace(third, number=5)))
    pv = replace(vg.pvs[0], partition=5)
    layout = Layout(disks=(replace(disk, table=table),), vgs=(replace(vg, pvs=(pv,)),))
    plan = make_plan(layout, MARGIN)
    for size, end in ((300, 300), (1024, 1024), (4096, 4096)):
        _, around, inside = growth_of(plan, size * MIB).target.disks[0].rows
        assert (around.start, inside.start, around.end, inside.end) == (10 * MIB, 11 * MIB, end * MIB, end * MIB)


def test_msdos_ends_at_2_tib_and_that_is_said() -> None:
    root = lv("root", 200, ext(800 * MIB, 100 * MIB))
    plan = make_plan(lone_server("dos", (1, 1000, "pv"), size=1024 * MIB, lvs=(root,)), MARGIN)
    growth = growth_of(plan, 3 * TIB)
    assert growth.target.disks[0].rows[0].end == 2 * TIB
    assert "its msdos partition table ends at 2.00 TiB, so 1.00 TiB" in growth.warnings[0]


def test_a_pv_on_a_whole_disk_grows_with_it() -> None:
    root = lv("root", 200, ext(800 * MIB, 100 * MIB))
    pv = PhysicalVolume(uuid="pv", disk=0, partition=0, size=801 * MIB, pe_start=MIB, extents=200)
    vg = VolumeGroup(name="vg", uuid="vg", extent_size=4 * MIB, pvs=(pv,), lvs=(root,))
    disk = Disk(path="/dev/vda", size=804 * MIB, sector_size=512, table=None)
    plan = make_plan(Layout(disks=(disk,), vgs=(vg,)), MARGIN)
    growth = growth_of(plan, 1804 * MIB)
    [grown_pv] = growth.target.vgs[0].pvs
    assert (grown_pv.extents, grown_pv.size) == (450, 1801 * MIB)
    assert extents(growth.target) == {"root": 200}


def test_stripes_grow_side_by_side_or_say_why_not() -> None:
    areas = Segment(le=0, pv="a", pe=0, count=200, others=(Area(pv="b", pe=0),), stripe_size=64 * KIB)
    striped = LogicalVolume(name="fast", uuid="fast", segments=(areas,), content=ext(800 * MIB, 100 * MIB))
    pvs = tuple(
        PhysicalVolume(uuid=uuid, disk=n, partition=0, size=401 * MIB, pe_start=MIB, extents=100)
        for n, uuid in enumerate("ab")
    )
    vg = VolumeGroup(name="vg", uuid="vg", extent_size=4 * MIB, pvs=pvs, lvs=(striped,))
    disks = tuple(Disk(path=f"/dev/vd{n}", size=402 * MIB, sector_size=512, table=None) for n in range(2))
    plan = make_plan(Layout(disks=disks, vgs=(vg,)), MARGIN, kept=2)
    back = growth_of(plan, 402 * MIB, 402 * MIB)
    assert back.target.vgs[0].lvs == vg.lvs
    one, other = 402 * MIB, plan.target.disks[1].size
    uneven = growth_of(plan, one, other, rules="fast=max")
    [packed], [grown_lv] = plan.target.vgs[0].lvs, uneven.target.vgs[0].lvs
    assert grown_lv.extents == packed.extents
    assert uneven.warnings == (
        "LV fast grows less than it should: its stripes have no more room on the PVs that they are on",
    )
    with pytest.raises(Refused, match="LV 'fast' is striped, and the PVs of its stripes have room for"):
        growth_of(plan, one, other, rules="fast=+200M")


def test_xfs_gets_no_geometry_that_hurts() -> None:
    big = 12800
    data = lv("data", big, Content(type="xfs", size=big * 4 * MIB, block_size=4096, minimum=350 * MIB, rebuilt=1))
    plan = make_plan(lone_server("gpt", (1, 60000, "pv"), size=60002 * MIB, lvs=(data,)), MARGIN)
    packed = plan.target.vgs[0].lvs[0].content.size
    growth = growth_of(plan, 60002 * MIB)
    [after] = growth.target.vgs[0].lvs
    assert after.extents == big, "the LV is as large as it was"
    assert after.content.size == packed * 16, "of two groups, 32"
    [said] = growth.warnings
    assert "the XFS on LV data grows to" in said and "allocation groups" in said
    many = replace(plan.source.vgs[0].lvs[0].content, groups=700)
    source = replace(plan.source, vgs=(replace(plan.source.vgs[0], lvs=(replace(data, content=many),)),))
    grown_again = growth_of(replace(plan, source=source), 60002 * MIB)
    assert grown_again.target.vgs[0].lvs[0].content.size == big * 4 * MIB, "the source had as many"
    assert xfs_most(GIB, 100 * TIB, 4) == 200 * GIB, "twice what mkfs.xfs makes"


def test_xfs_is_packed_with_groups_by_which_it_gets_its_size_back() -> None:
    unknown = [packed_groups(n * GIB, 0, 0, GIB) for n in (1, 8, 9, 16, 99)]
    assert unknown == [(4, 0), (4, 0), (2, 0), (2, 0), (2, 0)], "two where four would be too small"
    known = [packed_groups(n * GIB, 4, n * GIB // 4, GIB) for n in (1, 8, 9, 16, 17, 99)]
    assert known[:4] == unknown[:4], "those of the source only where two would be too small, too"
    assert known[4:] == [(1, 17 * GIB // 4), (1, 99 * GIB // 4)]
    assert packed_groups(3 * TIB, 48, 64 * GIB, 300 * GIB) == (4, 0), "as many as it had"
    assert packed_groups(10000 * GIB, 100, 100 * GIB, 150 * GIB) == (1, 200 * GIB)
    assert packed_groups(100 * TIB, 100, TIB, 1025 * GIB) == (2, 0), "no group is larger than a TiB"


def test_an_xfs_with_a_single_group_grows_back_and_says_so_where_it_stays_one() -> None:
    big, source = 12800, 4
    group = big * 4 * MIB // source
    old = Content(
        type="xfs", size=big * 4 * MIB, block_size=4096, minimum=350 * MIB, rebuilt=1, groups=source, group=group
    )
    plan = make_plan(lone_server("gpt", (1, 60000, "pv"), size=60002 * MIB, lvs=(lv("data", big, old),)), MARGIN)
    [packed] = plan.target.vgs[0].lvs
    assert (packed.content.groups, packed.content.group) == (1, group)
    growth = growth_of(plan, 60002 * MIB)
    [after] = growth.target.vgs[0].lvs
    assert (after.extents, after.content.size, growth.warnings) == (big, old.size, ())
    small = growth_of(plan, plan.target.disks[0].size + GIB)
    [said] = small.warnings
    assert f"the XFS on LV data has a single allocation group until it is larger than {human(group)}" in said
    same = growth_of(plan, plan.target.disks[0].size)
    assert same.warnings == (said,)


def test_ext_with_small_blocks_has_a_limit() -> None:
    small = Content(type="ext4", uuid="u", size=800 * MIB, block_size=1024, minimum=100 * MIB)
    plan = make_plan(lone_server("gpt", (1, 1000, "pv"), size=1024 * MIB, lvs=(lv("data", 200, small),)), MARGIN)
    growth = growth_of(plan, 1 * TIB, rules="data=max")
    assert growth.target.vgs[0].lvs[0].content.size == 512 * GIB
    assert "with blocks of 1.00 KiB" in growth.warnings[0]
