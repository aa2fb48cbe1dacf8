"""The plan of a restore: said before the first write."""

from collections.abc import Sequence

from lvpack_agent import resources
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import understood
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.plan.grow import Growth, grown
from lvpack_agent.plan.text import restore_text
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Grow


def planned(manifest: Manifest, targets: Sequence[BlockDevice], grow: Grow, session: Session) -> Growth:
    """Say, and return, what a set becomes on target disks. Raises Refused for rules that there is no room for."""
    with session.phase("plan"):
        disks = [disk.without_table() for disk in targets]
        with understood("the layouts in the image set", hint="take another copy of the set, or lvpack.grow=none"):
            growth = grown(manifest.plan, manifest.packed, disks, grow, resources.total_memory(), manifest.mounts)
        session.measured(
            target_disk=sum(disk.size for disk in targets),
            packed_disk=manifest.packed_size,
            image=manifest.stored_size,
        )
        session.show(restore_text(growth, session.name))
        for warning in growth.warnings:
            session.warn(warning)
        return growth
