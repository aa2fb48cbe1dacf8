"""What the parts of an in-place run hand to each other: what was decided, and what a boot works with."""

from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.backup.journal import Journal
from lvpack_agent.devices import blockdev
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.inplace.procedure import Procedure
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.plan.values import Plan
from lvpack_agent.session import Session
from lvpack_agent.snapshots.keeper import Keeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the first boot of a run decided: the name of the image set, and the plan.

    layout is the folder with the source's tables as they were. journal is None if the disk is as planned already: no
    step is needed then, and nothing is written down.
    """

    name: str
    plan: Plan
    layout: Path
    journal: Journal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one boot does steps with.

    journal tells what was decided and how far the run is; disk is the one that is packed; keeper has the stores of
    snapshots; folder is for mounts and small files of this boot.
    """

    journal: Journal
    procedure: Procedure
    disk: BlockDevice
    keeper: Keeper
    session: Session
    folder: Path

    @property
    def plan(self) -> Plan:
        return self.journal.record.plan

    @property
    def source_vg(self) -> VolumeGroup:
        """The VG as it was before the run."""
        return self.plan.source.vgs[0]

    @property
    def is_shrinking(self) -> bool:
        """Whether the next step is one of those that pack the disk."""
        return self.journal.progress.done < self.procedure.packed_after

    @property
    def is_regrowing(self) -> bool:
        """Whether a step was done that gives the disk its former sizes back: the packed disk is no more."""
        return self.journal.progress.done > self.procedure.packed_after

    def flush(self) -> None:
        """Return when all that was written to the disk is on it."""
        blockdev.flush(self.disk.path)
