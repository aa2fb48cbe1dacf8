"""Probing: from a disk device to a Layout, with the partitions and LVs of that disk opened as mappings.

Tested in guests, as it needs device-mapper: qemu-tests/tests/test_layouts.py, test_refusals.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lvpack_agent import parallel, places
from lvpack_agent.devices import blkid, dmsetup, sfdisk
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.errors import Refused
from lvpack_agent.filesystems import content, ext, xfs_rebuild
from lvpack_agent.filesystems.free import replay
from lvpack_agent.layout.content import EXT_TYPES, PV_TYPE, SUSPEND_TYPES, Content
from lvpack_agent.layout.disks import Disk, PartitionTable
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import by_place
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe.convert import Place, volume_group
from lvpack_agent.probe.supported import refuse_unsupported
from lvpack_agent.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A partition or an LV. key is the place of a partition, or the UUID of an LV; name is for people."""

    key: Place | str
    name: str
    device: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Probed disks while their mappings stand: devices of partitions, of LVs by UUID, and of the PVs.

    findings: what damage e2fsck repaired; corrected: what it corrected without a question; unclean: which filesystems
    (by names for people) had a journal to replay or errors.
    """

    layout: Layout
    partitions: dict[Place, str]
    lvs: dict[str, str]
    pvs: tuple[str, ...]
    findings: tuple[str, ...]
    unclean: tuple[str, ...]
    corrected: tuple[str, ...] = ()

    def volumes(self) -> list[Volume]:
        """Return every partition and LV of the disks."""
        parts = [
            Volume(
                key=(index, number),
                name=self.layout.partition_name(index, number),
                device=self.partitions[index, number],
                content=content,
            )
            for index, disk in enumerate(self.layout.disks)
            for number, _, content in disk.places()
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
    sources: Sequence[tuple[str, Disk | None]],
    tag: str,
    *,
    repair: bool = False,
    repair_all: bool = False,
    estimate: bool = True,
    rebuild: bool = False,
) -> Iterator[Opened]:
    """Map the partitions of disk devices, activate their VGs and yield what is there; all of it is closed at the end.

    Each source is a device, and the real disk whose path, model, serial and WWN it gets. tag names the mappings. With
    repair, an unclean ext filesystem is checked first (its journal replayed); never ask for that on anything but a
    copy-on-write overlay. With repair_all a clean one is, too: zeros for bad sectors may be in it all the same. Without
    estimate nobody asks how small filesystems can get. With rebuild that is asked of XFS on LVs, too, which can only be
    made anew.
    Raises Refused for what lvpack cannot pack, Failed if a tool fails.
    """
    with Undo() as undo:
        reader = _Reader(repair, estimate, repair_all)
        bare, devices = _disks(sources, tag, undo)
        named = {bare.partition_name(*place): device for place, device in devices.items()}
        contents = dict(zip(devices, reader.read(named), strict=True))
        disks = tuple(_with_contents(disk, index, contents) for index, disk in enumerate(bare.disks))
        pvs = {device: place for place, device in devices.items() if contents[place].type == PV_TYPE}
        vgs = []
        lvs: dict[str, str] = {}
        for vg in vgreport.read(tuple(pvs)):
            refuse_unsupported(vg)
            lvm.activate(vg.name, tuple(pvs))
            undo.callback(lvm.deactivate, vg.name, tuple(pvs))
            lvs |= {lv.uuid: lv.device for lv in vg.lvs}
            names = [lv.name for lv in vg.lvs]
            found = dict(
                zip(names, reader.read({f"LV {lv.name}": lv.device for lv in vg.lvs}, rebuild=rebuild), strict=True)
            )
            vgs.append(volume_group(vg, pvs, found))
        layout = Layout(disks=disks, vgs=by_place(vgs))
        yield Opened(
            layout=layout,
            partitions=devices,
            lvs=lvs,
            pvs=tuple(pvs),
            findings=tuple(reader.findings),
            unclean=tuple(reader.unclean),
            corrected=tuple(reader.corrected),
        )


def mapped(device: str, tag: str, undo: Undo) -> tuple[PartitionTable | None, int, dict[int, str]]:
    """Map the partitions of a disk device; return its table, bytes per sector, and the devices by number."""
    table, sector = sfdisk.read(device)
    devices = {}
    for row in table.partitions if table else ():
        part = dmsetup.Linear(device=device, offset=row.start, size=row.size)
        devices[row.number] = dmsetup.create(f"lvpack-{tag}-p{row.number}", dmsetup.linear_table([part]), undo)
    return table, sector, devices


def _disks(sources: Sequence[tuple[str, Disk | None]], tag: str, undo: Undo) -> tuple[Layout, dict[Place, str]]:
    """Return the disks as their tables have them, and the devices of their partitions, or of them if they have none."""
    disks: list[Disk] = []
    devices: dict[Place, str] = {}
    for index, (device, like) in enumerate(sources):
        table, sector, parts = mapped(device, f"{tag}{index or ''}", undo)
        disks.append(
            Disk(
                path=like.path if like else device,
                size=size_of(device),
                sector_size=sector,
                table=table,
                model=like.model if like else "",
                serial=like.serial if like else "",
                wwn=like.wwn if like else "",
            )
        )
        devices |= {(index, number): path for number, path in (parts if table else {0: device}).items()}
    return Layout(disks=tuple(disks), vgs=()), devices


def _with_contents(disk: Disk, index: int, contents: Mapping[Place, Content]) -> Disk:
    if disk.table is None:
        # The layout has PVs apart.
        return disk if contents[index, 0].type == PV_TYPE else replace(disk, content=contents[index, 0])
    rows = tuple(replace(row, content=contents[index, row.number]) for row in disk.table.partitions)
    return replace(disk, table=replace(disk.table, partitions=rows))


class _Reader:
    """Reads what devices hold; with repair, unclean ext filesystems are checked first, and what was found is kept."""

    def __init__(self, repair: bool, estimate: bool, repair_all: bool) -> None:
        self._repair, self._estimate, self._all = repair, estimate, repair_all
        self.findings: list[str] = []
        self.corrected: list[str] = []
        self.unclean: list[str] = []

    def read(self, devices: dict[str, str], *, rebuild: bool = False) -> list[Content]:
        """Return the contents of devices, which are given by names for people; rebuild: as for opened()."""
        facts = blkid.identify_all(tuple(devices.values()))
        read = parallel.each(lambda item: self._content(*item, facts[item[1]], rebuild=rebuild), devices.items())
        for _, findings, corrected, unclean in read:
            self.findings += findings
            self.corrected += corrected
            self.unclean += unclean
        return [content for content, *_ in read]

    def _content(
        self, name: str, device: str, facts: Mapping[str, str], *, rebuild: bool
    ) -> tuple[Content, list[str], list[str], list[str]]:
        findings, corrected, unclean = [], [], []
        kind = facts.get("TYPE", "")
        if kind in SUSPEND_TYPES:
            raise Refused(
                f"cannot pack this server: {name} holds the memory of a hibernated system",
                hint="start the server, shut it down in full, and try again",
            )
        block = ext.read(device) if kind in EXT_TYPES else None
        if block and block.external_journal:
            raise Refused(
                f"cannot pack this server: the journal of {name} is on another device",
                hint="give it one of its own first: tune2fs -O ^has_journal, then tune2fs -j",
            )
        if self._repair and block and (self._all or not block.clean):
            unclean += [] if block.clean else [name]
            done = ext.repair(device)
            if done.corrected:
                corrected.append(f"{name}: e2fsck corrected its copy in the overlay: {done.corrected}")
            if done.damage:
                findings.append(
                    f"{name}: e2fsck repaired its copy in the overlay: {done.damage}; the source still has this damage"
                )
            block = ext.read(device)
        if self._repair:
            replay(device, kind, places.REPLAY / Path(device).name)
        found = content.read(device, facts, block, estimate=self._estimate)
        if rebuild and kind == "xfs":
            try:
                minimum, rebuilt = xfs_rebuild.estimated(device)
                found = replace(found, minimum=minimum, rebuilt=rebuilt)
            except xfs_rebuild.Fixed as why:
                findings.append(f"{name}, an XFS, keeps its size: {why}")
        return found, findings, corrected, unclean
