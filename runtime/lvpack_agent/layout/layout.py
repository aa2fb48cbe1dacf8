"""A layout: the disks of one server with the VGs on them, and in what two layouts differ."""

from dataclasses import dataclass, fields, is_dataclass, replace

from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The disks of one server and the VGs on them."""

    disks: tuple[Disk, ...]
    vgs: tuple[VolumeGroup, ...]

    def first_extent(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where a PV's extent 0 begins."""
        return self.pv_start(pv) + pv.pe_start

    def partition_name(self, disk: int, number: int) -> str:
        """Return a partition's name for people; on the first disk, the name does not mention the disk."""
        where = f"disk {self.disks[disk].path}"
        if not number:
            return where
        return f"partition {number}" + (f" of {where}" if disk else "")

    def contradiction(self) -> str:
        """Return what makes this no layout at all, "" if nothing does: one that was read may say anything."""
        for pv in (pv for vg in self.vgs for pv in vg.pvs):
            places = (
                [number for number, _, _ in self.disks[pv.disk].places()] if pv.disk in range(len(self.disks)) else []
            )
            if pv.partition not in places:
                return f"PV {pv.uuid} is on a disk or a partition that is not there"
        return ""

    def pv_start(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where a PV begins."""
        return self.disks[pv.disk].start_of(pv.partition)

    def pv_end(self, pv: PhysicalVolume) -> int:
        """Return the byte of its disk where the partition of a PV ends, or the disk that it is."""
        disk = self.disks[pv.disk]
        return disk.table.partition(pv.partition).end if disk.table else disk.size


def differences(expected: object, found: object, where: str = "") -> list[str]:
    """Return one line for each value in which two layouts differ, e.g. `vgs[0].lvs[2].segments[0].pe: 5, found 7`.

    A content whose size one of them does not know is no difference: sets of lvpack 0.1.0 have no sizes of XFS.
    """
    if isinstance(expected, Content) and isinstance(found, Content) and not expected.size * found.size:
        expected, found = (replace(content, size=0, block_size=0) for content in (expected, found))
    if is_dataclass(expected) and type(expected) is type(found):
        return [
            line
            for f in fields(expected)
            if f.compare
            for line in differences(getattr(expected, f.name), getattr(found, f.name), f"{where}.{f.name}".strip("."))
        ]
    if isinstance(expected, tuple) and isinstance(found, tuple) and len(expected) == len(found):
        return [
            line
            for i, (e, f) in enumerate(zip(expected, found, strict=True))
            for line in differences(e, f, f"{where}[{i}]")
        ]
    return [] if expected == found else [f"{where}: {expected}, found {found}"]
