"""Layouts to plan with: the sample server's, and any that hypothesis draws."""

from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from lvpack_agent.devices import sfdisk
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk, Partition, PartitionTable
from lvpack_agent.layout.extents import Area, Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe import convert
from lvpack_agent.settings.values import Margin
from lvpack_agent.sizes import GIB, KIB, MIB

MARGIN = Margin(percent=5)


def blog_vg(blog: Path, contents: dict[str, Content] | None = None) -> VolumeGroup:
    [vg] = vgreport.parse((blog / "fullreport.json").read_text())
    uuids = {pv.device: pv.uuid for pv in vg.pvs}
    [pv] = vg.pvs
    return VolumeGroup(
        name=vg.name,
        uuid=vg.uuid,
        extent_size=vg.extent_size,
        pvs=(
            PhysicalVolume(uuid=pv.uuid, disk=0, partition=2, size=pv.size, pe_start=pv.pe_start, extents=pv.extents),
        ),
        lvs=tuple(
            LogicalVolume(
                name=lv.name,
                uuid=lv.uuid,
                segments=tuple(convert.segment(s, uuids) for s in lv.segments),
                content=(contents or {}).get(lv.name, Content()),
            )
            for lv in sorted(vg.lvs, key=lambda lv: lv.name)
        ),
    )


def ext(size: int, minimum: int, free: tuple[Range, ...] = ()) -> Content:
    return Content(type="ext4", uuid="u", size=size, block_size=4096, minimum=minimum, free=free)


def with_partition(disk: Disk, partition: Partition) -> Disk:
    """Return the disk with the partition of that number replaced."""
    assert disk.table is not None
    rows = tuple(partition if p.number == partition.number else p for p in disk.table.partitions)
    return replace(disk, table=replace(disk.table, partitions=rows))


def blog_layout(blog: Path) -> Layout:
    table, sector = sfdisk.parse((blog / "sfdisk.json").read_text())
    disk = Disk(path="/dev/vda", size=12 * GIB, sector_size=sector, table=table)
    disk = with_partition(disk, replace(table.partition(1), content=ext(256 * MIB, 100 * MIB)))
    disk = with_partition(disk, replace(table.partition(2), content=Content(type="LVM2_member", uuid="pv")))
    contents = {
        "root": ext(2560 * MIB, 523 * MIB),
        "var": ext(1536 * MIB, 212 * MIB),
        "tmp": ext(512 * MIB, 33 * MIB),
        "swap": Content(type="swap", uuid="s", label="swap", size=512 * MIB, block_size=4096),
    }
    return Layout(disks=(disk,), vgs=(blog_vg(blog, contents),))


@st.composite
def vgs(draw: st.DrawFn, most: int = 3) -> VolumeGroup:
    """A VG of some PVs whose LVs, linear and striped, are scattered over them in any order, with holes.

    most: PVs of the VG; segments have up to three stripes, which may be on one PV.
    """
    pv_count = draw(st.integers(1, most))
    ends = [0] * pv_count
    segments: dict[int, list[Segment]] = {}
    shapes = st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 3), st.integers(1, 3))
    for length, hole, owner, stripes in draw(st.lists(shapes, min_size=1, max_size=20)):
        # Stripes may be on the same PV, as after a collapse.
        areas = []
        for _ in range(stripes):
            pv = draw(st.integers(0, pv_count - 1))
            areas.append(Area(pv=f"pv{pv}", pe=ends[pv] + hole))
            ends[pv] += hole + length
        first, *others = areas
        le = sum(s.count for s in segments.get(owner, []))
        segment = Segment(
            le=le,
            pv=first.pv,
            pe=first.pe,
            count=length * stripes,
            others=tuple(others),
            stripe_size=64 * KIB if others else 0,
        )
        segments.setdefault(owner, []).append(segment)
    lvs = tuple(LogicalVolume(name=f"lv{owner}", uuid=f"u{owner}", segments=tuple(s)) for owner, s in segments.items())
    pvs = [
        PhysicalVolume(
            uuid=f"pv{n}",
            disk=0,
            partition=n + 1,
            size=0,
            pe_start=draw(st.sampled_from([MIB, 192 * KIB, 68 * KIB])),
            extents=end + 5,
            metadata_areas=draw(st.integers(0, 2)),
            area_size=draw(st.sampled_from([1020 * KIB, 300 * KIB + 512])),
        )
        for n, end in enumerate(ends)
    ]
    if not any(pv.metadata_areas for pv in pvs):
        pvs[-1] = replace(pvs[-1], metadata_areas=1)
    pvs = [replace(pv, size=pv.least_size(MIB)) for pv in pvs]
    return VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=tuple(pvs), lvs=lvs)


@st.composite
def with_rows(draw: st.DrawFn, label: str, pvs: list[PhysicalVolume]) -> tuple[Disk, list[PhysicalVolume]]:
    """A disk with other partitions before, between and after its PVs, and these with their numbers."""
    gaps = st.sampled_from([0, 0, 4 * KIB, MIB, 5 * MIB])
    numbered, rows = [], []
    at = MIB
    for number, pv in enumerate(draw(st.permutations([*pvs, *[None] * draw(st.integers(0, 3))])), 1):
        start = at + draw(gaps)
        size = pv.size if pv else draw(st.sampled_from([MIB, 3 * MIB, 7 * KIB * 4]))
        content = Content(type="LVM2_member") if pv else Content()
        rows.append(Partition(number=number, start=start, size=size, type="83", content=content))
        numbered += [replace(pv, partition=number)] if pv else []
        at = start + size
    table = PartitionTable(label=label, id="0x1", partitions=tuple(rows))
    size = -(-at // MIB) * MIB + draw(st.sampled_from([MIB, 9 * MIB]))
    return Disk(path="/dev/vda", size=size, sector_size=512, table=table), numbered


@st.composite
def servers(draw: st.DrawFn, *, collapsible: bool = True) -> Layout:
    """One to three disks, the first with other partitions beside its PVs, or all a PV.

    The others are all a PV, or, if they need not be collapsed, may have partitions too.
    """
    vg = draw(vgs())
    split = draw(st.integers(1, len(vg.pvs)))
    disks: list[Disk] = []
    pvs: list[PhysicalVolume] = []
    for index, own in enumerate([list(vg.pvs[:split]), *([pv] for pv in vg.pvs[split:])]):
        if len(own) == 1 and ((collapsible and index) or draw(st.booleans())):
            disk = Disk(path="", size=own[0].size + 7 * MIB, sector_size=512, table=None)
            own = [replace(own[0], partition=0)]
        else:
            disk, own = draw(with_rows(draw(st.sampled_from(["dos", "gpt"])), own))
        disks.append(replace(disk, path=f"/dev/vd{index}"))
        pvs += [replace(pv, disk=index) for pv in own]
    by_uuid = {pv.uuid: pv for pv in pvs}
    return Layout(disks=tuple(disks), vgs=(replace(vg, pvs=tuple(by_uuid[pv.uuid] for pv in vg.pvs)),))


@st.composite
def further(draw: st.DrawFn) -> Disk:
    """A disk without LVM, with partitions, without any, or without a table."""
    disk, _ = draw(with_rows(draw(st.sampled_from(["dos", "gpt"])), []))
    return replace(disk, table=draw(st.sampled_from([disk.table, None])))


Owner = tuple[str, int, int]


def extent_owners(vg: VolumeGroup) -> dict[tuple[str, int], Owner]:
    """Return for each used extent which of the extents, counted in the LV's stripes, it is: (LV, row, column)."""
    owners: dict[tuple[str, int], Owner] = {}
    for lv in vg.lvs:
        for s in lv.segments:
            for column, area in enumerate(s.areas):
                for i in range(s.length):
                    owners[area.pv, area.pe + i] = (lv.name, s.le + i * len(s.areas), column)
    return owners
