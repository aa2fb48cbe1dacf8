"""Probing: from a disk device to a Layout, with the partitions and LVs of that disk opened as mappings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lvpack_agent import content, ext, lvm, mappings, parallel, partitions, usage
from lvpack_agent.compact import joined
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.layout import (
    EXT_TYPES,
    PV_TYPE,
    SUSPEND_TYPES,
    Content,
    Disk,
    Layout,
    LogicalVolume,
    Partition,
    PartitionTable,
    PhysicalVolume,
    Segment,
    VolumeGroup,
)
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo

# Where filesystems are mounted whose log the kernel replays.
LOG_REPLAY = Path("/run/lvpack/replay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A partition, whose key is its number, or an LV, whose key is its UUID; name is for people."""

    key: int | str
    name: str
    device: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A probed disk while its mappings stand: devices of partitions by number, of LVs by UUID, and of the PVs.

    findings: what e2fsck repaired; unclean: which filesystems (by names for people) had a journal to replay or errors.
    """

    layout: Layout
    partitions: dict[int, str]
    lvs: dict[str, str]
    pvs: tuple[str, ...]
    findings: tuple[str, ...]
    unclean: tuple[str, ...]

    def volumes(self) -> list[Volume]:
        """Return every partition and LV of the disk."""
        table = self.layout.disks[0].table
        parts = [
            Volume(key=p.number, name=f"partition {p.number}", device=self.partitions[p.number], content=p.content)
            for p in (table.partitions if table else ())
        ]
        return parts + [
            Volume(key=lv.uuid, name=f"LV {lv.name}", device=self.lvs[lv.uuid], content=lv.content)
            for vg in self.layout.vgs
            for lv in vg.lvs
        ]

    def ext_devices(self) -> list[tuple[str, str]]:
        """Return (name for people, device) of every ext filesystem on the disk."""
        return [(v.name, v.device) for v in self.volumes() if v.content.is_ext]


@contextmanager
def opened(
    device: str, tag: str, *, like: Disk | None = None, repair: bool = False, estimate: bool = True
) -> Iterator[Opened]:
    """Map the partitions of a disk device, activate its VGs and yield what is there; all of it is closed at the end.

    tag names the mappings. like lends path, model and serial of the real disk. With repair, an unclean ext filesystem
    is checked first (its journal replayed); never ask for that on anything but a copy-on-write overlay. Without
    estimate nobody asks how small filesystems can get.
    Raises Refused for what lvpack cannot pack, Failed if a tool fails.
    """
    with Undo() as undo:
        size = int(run(["blockdev", "--getsize64", device]).stdout)
        table, sector, devices = mapped(device, tag, undo)
        reader = _Reader(repair, estimate)
        rows = table.partitions if table else ()
        contents = reader.read({f"partition {row.number}": devices[row.number] for row in rows})
        rows = tuple(replace(row, content=content) for row, content in zip(rows, contents, strict=True))
        disk = Disk(
            path=like.path if like else device,
            size=size,
            sector_size=sector,
            table=replace(table, partitions=rows) if table else None,
            model=like.model if like else "",
            serial=like.serial if like else "",
        )
        pvs = {path: number for number, path in devices.items() if _type(rows, number) == PV_TYPE}
        vgs = []
        lvs: dict[str, str] = {}
        for vg in lvm.report(tuple(pvs)):
            refuse_unsupported(vg)
            lvm.activate(vg.name, tuple(pvs))
            undo.callback(lvm.deactivate, vg.name, tuple(pvs))
            lvs |= {lv.uuid: lv.device for lv in vg.lvs}
            names = [lv.name for lv in vg.lvs]
            found = dict(zip(names, reader.read({f"LV {lv.name}": lv.device for lv in vg.lvs}), strict=True))
            vgs.append(volume_group(vg, pvs, found))
        layout = Layout(disks=(disk,), vgs=tuple(vgs))
        yield Opened(
            layout=layout,
            partitions=devices,
            lvs=lvs,
            pvs=tuple(pvs),
            findings=tuple(reader.findings),
            unclean=tuple(reader.unclean),
        )


def mapped(device: str, tag: str, undo: Undo) -> tuple[PartitionTable | None, int, dict[int, str]]:
    """Map the partitions of a disk device; return its table, bytes per sector, and the devices by number."""
    table, sector = partitions.read(device)
    devices = {}
    for row in table.partitions if table else ():
        piece = mappings.Linear(device=device, offset=row.start, size=row.size)
        devices[row.number] = mappings.create(f"lvpack-{tag}-p{row.number}", mappings.linear_table([piece]), undo)
    return table, sector, devices


def _type(rows: tuple[Partition, ...], number: int) -> str:
    return next(r.content.type for r in rows if r.number == number)


class _Reader:
    """Reads what devices hold; with repair, unclean ext filesystems are checked first, and what was found is kept."""

    def __init__(self, repair: bool, estimate: bool) -> None:
        self._repair, self._estimate = repair, estimate
        self.findings: list[str] = []
        self.unclean: list[str] = []

    def read(self, devices: dict[str, str]) -> list[Content]:
        """Return the contents of devices, which are given by names for people."""
        read = parallel.each(lambda item: self._content(*item), devices.items())
        for _, findings, unclean in read:
            self.findings += findings
            self.unclean += unclean
        return [content for content, _, _ in read]

    def _content(self, name: str, device: str) -> tuple[Content, list[str], list[str]]:
        findings, unclean = [], []
        kind = content.identify(device).get("TYPE", "")
        if kind in SUSPEND_TYPES:
            raise Refused(
                f"cannot pack this server: {name} holds the memory of a hibernated system",
                hint="start the server, shut it down in full, and try again",
            )
        if self._repair and kind in EXT_TYPES and not ext.read(device).clean:
            unclean.append(name)
            if finding := ext.repair(device):
                findings.append(
                    f"{name}: e2fsck repaired its copy in the overlay: {finding}; the source still has this damage"
                )
        if self._repair:
            usage.replay(device, kind, LOG_REPLAY / Path(device).name)
        return content.read(device, estimate=self._estimate), findings, unclean


def refuse_unsupported(vg: lvm.Vg) -> None:
    """Raise Refused, naming the next step, for a VG that lvpack does not pack."""
    name = f"cannot pack VG '{vg.name}'"
    if not vg.name:
        raise Refused(
            "cannot pack this disk: it holds a PV without a VG", hint="remove it with pvremove, or add it to a VG"
        )
    if vg.partial or any(pv.missing for pv in vg.pvs):
        raise Refused(f"{name}: a PV of it is missing", hint="attach its disk, or run vgreduce --removemissing")
    if vg.exported:
        raise Refused(f"{name}: it is exported", hint="run vgimport first")
    if vg.clustered:
        raise Refused(f"{name}: it is a cluster's", hint="make it local with vgchange --lock-type none")
    if not vg.writable:
        raise Refused(f"{name}: it is read-only", hint="make its metadata writable first (vgs -o vg_attr)")
    if not vg.lvs:
        raise Refused(f"{name}: it has no LV", hint="there is nothing in it to pack")
    if vg.system_id:
        raise Refused(f"{name}: it belongs to system '{vg.system_id}'", hint="clear it with vgchange --systemid ''")
    for pv in vg.pvs:
        if pv.metadata_areas != 1 or pv.bootloader_area:
            raise Refused(
                f"{name}: PV '{pv.device}' has {pv.metadata_areas} metadata areas and a boot loader area of "
                f"{pv.bootloader_area} bytes",
                hint="this version packs PVs with one metadata area and no boot loader area",
            )
    for lv in vg.lvs:
        if lv.layout != "linear" or any(s.type != "linear" or len(s.ranges) != 1 for s in lv.segments):
            raise Refused(f"{name}: LV '{lv.name}' is of type {lv.layout}", hint="this version packs linear LVs only")


def volume_group(vg: lvm.Vg, pvs: dict[str, int], contents: Mapping[str, Content]) -> VolumeGroup:
    """Return a reported VG of linear LVs as the layout has it.

    pvs are partition numbers by device, contents are by name of the LV; what is not named there is left open.
    """
    uuids = {pv.device: pv.uuid for pv in vg.pvs}
    return VolumeGroup(
        name=vg.name,
        uuid=vg.uuid,
        extent_size=vg.extent_size,
        pvs=tuple(
            PhysicalVolume(
                uuid=pv.uuid, disk=0, partition=pvs[pv.device], size=pv.size, pe_start=pv.pe_start, extents=pv.extents
            )
            for pv in vg.pvs
        ),
        lvs=tuple(
            LogicalVolume(
                name=lv.name,
                uuid=lv.uuid,
                # LVM may keep a segment in two pieces that lie one after another.
                segments=joined(segment(s, uuids) for s in lv.segments),
                content=contents.get(lv.name, Content()),
            )
            for lv in sorted(vg.lvs, key=lambda lv: lv.name)
        ),
    )


def segment(reported: lvm.Segment, uuids: dict[str, str]) -> Segment:
    """Return a linear segment as the layout has it; uuids are of PVs, by device. Raises Failed if it is not linear."""
    device, _, extents = reported.ranges[0].rpartition(":")
    first, last = (int(n) for n in extents.split("-"))
    if last - first + 1 != reported.count:
        raise Failed(f"cannot read the layout: LVM reports {reported.count} extents at {reported.ranges[0]}")
    return Segment(le=reported.start, pv=uuids[device], pe=first, count=reported.count)
