"""The few commands that lvpack gives LVM.

Tested in guests, as LVM needs device-mapper: qemu-tests/tests/test_main_job.py, test_inplace.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.layout.volumes import PhysicalVolume
from lvpack_agent.lvm import pvlabel
from lvpack_agent.printable import quoted
from lvpack_agent.processes import Completed, run

# udev is not told, so that nothing else opens our volumes and no command waits for a rule that is not there;
# nothing is written beside the metadata; no devices file: the machine is not ours.
CONFIG = (
    "devices/use_devicesfile=0 "
    "activation/udev_sync=0 activation/udev_rules=0 activation/verify_udev_operations=0 activation/monitoring=0 "
    "backup/backup=0 backup/archive=0 global/event_activation=0 global/use_lvmpolld=0"
)


def arguments(words: Sequence[str], devices: Sequence[str]) -> list[str]:
    """Return the command line of an LVM command that sees these devices only."""
    name, *rest = words
    return ["lvm", name, "--config", CONFIG, "--devices", ",".join(devices), *rest]


def command(words: Sequence[str], devices: Sequence[str]) -> Completed:
    """Run an LVM command that sees these devices only."""
    return run(arguments(words, devices))


def activate(vg: str, devices: Sequence[str]) -> None:
    """Make the device nodes of all LVs of a VG."""
    # --poll n: a pvmove that was cut off goes on when the agent says so, and nothing stays behind in the background.
    command(["vgchange", "--activate", "y", "--ignoreactivationskip", "--poll", "n", vg], devices)


def deactivate(vg: str, devices: Sequence[str]) -> None:
    """Remove the device nodes of all LVs of a VG."""
    command(["vgchange", "--activate", "n", vg], devices)


def tag(vg: str, device: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Give a VG tags and take others away, in one metadata commit; doing it twice does no harm."""
    words = [word for name in remove for word in ("--deltag", name)] + [word for t in add for word in ("--addtag", t)]
    if words:
        command(["vgchange", *words, vg], [device])


def reduce(vg: str, lv: str, extents: int, device: str) -> None:
    """Cut an LV to a number of extents; LVM does not look at its filesystem (lvreduce(8), --fs ignore)."""
    command(["lvreduce", "--yes", "--force", "--fs", "ignore", "--extents", str(extents), f"{vg}/{lv}"], [device])


def extend(vg: str, lv: str, first: int, count: int, device: str) -> None:
    """Add count extents of a PV, from its extent first on, to the end of an LV."""
    where = f"{device}:{first}-{first + count - 1}"
    words = ["lvextend", "--yes", "--fs", "ignore", "--alloc", "anywhere", "--extents", f"+{count}"]
    command([*words, f"{vg}/{lv}", where], [device])


def update_metadata(vg: str, device: str) -> None:
    """Write the newest metadata to all areas of a PV (vgck(8)).

    Areas whose header is damaged stay as they are, without an error (LVM 2.03.31).
    """
    command(["vgck", "--updatemetadata", vg], [device])


def remove(vg: str, lv: str, device: str) -> None:
    """Remove an LV."""
    command(["lvremove", "--yes", f"{vg}/{lv}"], [device])


def resize_pv(device: str, size: int) -> None:
    """Let a PV with one metadata area use size bytes of its device (pvresize(8)).

    It moves a second area, and for a moment the VG has no metadata then (LVM 2.03.31).
    """
    if len(pvlabel.areas(device)) > 1:
        raise Failed(f"cannot resize the PV on '{device}': it has a second metadata area")
    command(["pvresize", "--yes", "--setphysicalvolumesize", f"{size}b", device], [device])


def metadata_text(vg: str, devices: Sequence[str], scratch: Path) -> str:
    """Return the metadata of a VG as text (vgcfgbackup(8)); scratch is a folder for the file."""
    path = scratch / f"{vg}.vg"
    command(["vgcfgbackup", "--file", str(path), vg], devices)
    # read_text() would make line feeds of carriage returns.
    return path.read_bytes().decode("utf-8", "surrogateescape")


def restore_metadata(vg: str, pvs: Mapping[PhysicalVolume, str], text: str, scratch: Path) -> None:
    """Write PV headers and the VG's metadata text to devices, by PV: from then on they are these PVs.

    If a PV has a second metadata area its device ends right after that, so that LVM has one place for it only.
    """
    path = scratch / f"{vg}.packed.vg"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    devices = tuple(pvs.values())
    for pv, device in pvs.items():
        create = ["pvcreate", "--yes", "-ff", "--uuid", pv.uuid, "--restorefile", str(path)]
        create += ["--pvmetadatacopies", str(pv.metadata_areas)]
        if pv.area_size:
            # LVM takes what there is before extent 0, if that is less.
            create += ["--metadatasize", f"{pv.tail or pv.area_size}b"]
        command([*create, device], devices)
    _restore(vg, path, devices)


def change_metadata(vg: str, text: str, device: str, scratch: Path) -> None:
    """Replace the metadata text of a VG in one commit; none of its LVs may be active."""
    path = scratch / f"{vg}.changed.vg"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    _restore(vg, path, [device])


def _restore(vg: str, path: Path, devices: Sequence[str]) -> None:
    command(["vgcfgrestore", "--yes", "--force", "--file", str(path), vg], devices)
    if said := command(["vgck", vg], devices).stderr.strip():
        raise Failed(f"cannot restore the metadata of VG '{vg}': vgck finds fault with it: {quoted(said.splitlines())}")
