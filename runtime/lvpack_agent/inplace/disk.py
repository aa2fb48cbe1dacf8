"""The disk that is packed in place: its partitions and LVs, opened for writing, and what state it is in."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lvpack_agent.devices import dmsetup, sfdisk
from lvpack_agent.errors import Disagreement, Failed
from lvpack_agent.inplace.merge import HEAD
from lvpack_agent.inplace.states import same_extents
from lvpack_agent.inplace.steps import MoveExtents, Step, WriteTable
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import pvmove, vgreport
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe import convert, supported
from lvpack_agent.probe import open as probe
from lvpack_agent.processes import run
from lvpack_agent.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """The open partitions, PV and LVs of a disk.

    table is what the disk has; partitions are devices by number, lvs devices by UUID, names the LVs' names by UUID. pv
    is the PV's device, vg the VG's name. number is that of the PV's partition, 0 if the PV is the whole disk, which
    has no table then.
    """

    table: PartitionTable | None
    partitions: dict[int, str]
    pv: str
    number: int
    vg: str
    lvs: dict[str, str]
    names: dict[str, str]

    def report(self) -> vgreport.Vg:
        """Return the VG as it is now."""
        [found] = vgreport.read([self.pv])
        return found

    def extents(self) -> VolumeGroup:
        """Return the VG as it is now, without what its LVs hold."""
        return convert.volume_group(self.report(), {self.pv: (0, self.number)}, {})


def heads(disk: str, layout: Layout) -> str:
    """Return one hash of the first 4 KiB of each partition and LV of a disk that has this layout.

    The superblocks of ext filesystems are there: mounting one for writing changes it.
    """
    run(["blockdev", "--flushbufs", disk])
    vg = layout.vgs[0]
    first = layout.first_extent(vg.pvs[0])
    places = [p.start for p in layout.disks[0].rows]
    places += [first + lv.segments[0].pe * vg.extent_size for lv in vg.lvs]
    digest = hashlib.sha256()
    with Path(disk).open("rb", buffering=0) as file:
        for place in places:
            file.seek(place)
            digest.update(file.read(HEAD))
    return digest.hexdigest()


@contextmanager
def opened(disk: str, plan: Plan) -> Iterator[Volumes]:
    """Open the partitions of a disk by the table that is on it, and its VG; close all of it at the end.

    Raises Failed if the partition with the PV is missing.
    """
    pv = plan.source.vgs[0].pvs[0]
    with Undo() as undo:
        table, _, devices = probe.mapped(disk, "inplace", undo)
        if not pv.partition:
            devices[0] = disk
        if pv.partition not in devices:
            raise Failed(
                f"cannot find partition {pv.partition} on disk '{disk}', which holds the PV",
                hint="layout/sfdisk.dump in the journal folder on the share has the table that was there",
            )
        device = devices[pv.partition]
        [vg] = vgreport.read([device])
        lvm.activate(vg.name, [device])
        undo.callback(lvm.deactivate, vg.name, [device])
        yield Volumes(
            table=table,
            partitions=devices,
            pv=device,
            number=pv.partition,
            vg=vg.name,
            lvs={lv.uuid: lv.device for lv in vg.lvs},
            names={lv.uuid: lv.name for lv in vg.lvs},
        )


def position(volumes: Volumes, plan: Plan, steps: tuple[Step, ...], states: tuple[VolumeGroup, ...], done: int) -> int:
    """Return how many steps were done on the disk: done, as the journal says, or one more.

    One more if the power went after the step and before it was written down. A pvmove of which only the temporary LV is
    left to be removed counts as the step that it was of. Raises Disagreement, which says what was found, if the disk is
    in neither state.
    """
    upcoming = steps[done] if done < len(steps) else None
    if volumes.table:
        _check_table(volumes.table, plan, upcoming)
    found = volumes.report()
    moving = pvmove.under_way(found)
    if moving:
        if isinstance(upcoming, MoveExtents) and pvmove.is_of(moving, upcoming.move):
            return done
        raise disagree(f"a pvmove of {', '.join(r for s in moving.segments for r in s.ranges)} is under way")
    left = pvmove.left_over(found) if isinstance(upcoming, MoveExtents) else None
    if left:
        found = replace(found, lvs=tuple(lv for lv in found.lvs if lv is not left))
    supported.refuse_unsupported(found)
    vg = convert.volume_group(found, {volumes.pv: (0, volumes.number)}, {})
    for count in (done, done + 1):
        if count < len(states) and same_extents(vg, states[count]):
            return count
    lines = [f"{lv.name} on {', '.join(f'{s.pe}-{s.pe + s.count - 1}' for s in lv.segments)}" for lv in vg.lvs]
    [pv] = vg.pvs
    raise disagree(f"the PV has {pv.extents} extents and {pv.metadata_areas} metadata areas, LV " + "; LV ".join(lines))


def _check_table(found: PartitionTable, plan: Plan, upcoming: Step | None) -> None:
    """Raise Disagreement unless the table on the disk is that of before or after the run, or partly upcoming's."""
    tables = [layout.disks[0].table for layout in (plan.source, plan.target)]
    if found.bare() in [table.bare() for table in tables if table]:
        return

    def places(table: PartitionTable) -> object:
        return table.id, [(p.number, p.start, p.type) for p in table.partitions]

    # A table takes several sectors, so it can be cut off in the middle: then sizes may be the old or the new ones.
    if isinstance(upcoming, WriteTable) and places(found) == places(upcoming.table):
        return
    rows = "; ".join(f"{p.number}: {p.start:,}-{p.end:,}" for p in found.partitions)
    raise disagree(f"the partitions (in bytes) are {rows}")


def disagree(found: str) -> Disagreement:
    """Return the error for a disk that is not as the journal says; found tells what is there instead."""
    return Disagreement(
        f"cannot go on: the journal and the disk disagree: {found}",
        hint="something else has changed this disk since the last boot; layout/ in the journal folder on the share has "
        "what it was before the run, plan.txt in it what it shall become; see docs/in-place.md",
    )


def write_table(disk: str, step: WriteTable, sector: int) -> None:
    """Write a partition table as for a disk of step.size bytes; sector is the size of the disk's sectors in bytes.

    The table is valid on the disk as it is, and on what is left of it when it is cut to that size.
    """
    with Undo() as undo:
        piece = dmsetup.Linear(device=disk, offset=0, size=step.size)
        device = dmsetup.create("lvpack-table", dmsetup.linear_table([piece]), undo)
        sfdisk.write(device, step.table, sector)
