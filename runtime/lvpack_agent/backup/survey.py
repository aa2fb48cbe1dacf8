"""How both modes begin: which disks are meant, what is on them, and what they shall become. Nothing is written.

What it refuses has unit tests; the probing is tested in guests (qemu-tests/tests/test_layouts.py).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lvpack_agent.backup import tables
from lvpack_agent.devices import blockdev, ioerrors, lsblk
from lvpack_agent.devices.ioerrors import DiskError
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Absent, Failed, Refused
from lvpack_agent.lvm.tags import MERGE_TAG, TAG
from lvpack_agent.plan.fitting import fitted
from lvpack_agent.plan.make import make_plan
from lvpack_agent.plan.rows import leaving_out
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.discover import Found, find
from lvpack_agent.probe.open import Opened, opened
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Margin, Settings
from lvpack_agent.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A probed source and its plan. The source's devices are open as long as surveyed() is.

    plan fits the room of the overlay's store, if that counts; wished is the plan that the margin asks for, whatever
    room there is. host is the name that an image set of this server gets.
    """

    source: Opened
    plan: Plan
    wished: Plan
    host: str


def find_source(
    settings: Settings, session: Session, undo: Undo, share: str = ""
) -> tuple[tuple[BlockDevice, ...], Found]:
    """Return all disks of the machine, and what is found of the server that is to be packed.

    All disks but the one with the scratch device, and the one with the share if a device of this machine has it, are
    read-only until undo. The share is on none of the disks to pack (shares.file sees to that). Raises Refused if it is
    not clear what to pack, or lvpack does not support it, and Failed if nothing is found on disks that cannot be read.
    """
    all_disks = lsblk.read()
    spared = lsblk.holding(all_disks, settings.scratch) + (lsblk.holding(all_disks, share) if share else ())
    blockdev.set_read_only(tuple(d for d in all_disks if d not in spared), undo)
    named = settings.disk != lsblk.AUTO
    candidates = lsblk.select(all_disks, settings.disk)
    try:
        found = find(candidates, settings.vg, collapse=settings.collapse, named=named)
    except Absent as absent:
        refuse_unread(absent, ioerrors.of_disks(ioerrors.read(), [disk.path for disk in candidates]))
        raise
    until = "read-only from here on" if settings.mode == "overlay" else "read-only until the journal is written"
    vgs = ", ".join(vg.name for vg in found.vgs)
    session.say(f"source: {' and '.join(d.describe() for d in found.disks)}, VG {vgs}; {until}")
    others = tuple(d for d in all_disks if d not in (*found.disks, *spared) and not d.is_own)
    for other in others:
        session.warn(
            f"disk {other.describe()} shares no VG with what is packed: left out, as lvpack.disk= does not name it"
        )
    return all_disks, replace(found, others=others)


def refuse_unread(absent: Absent, errors: Sequence[DiskError]) -> None:
    """Raise Failed if what is absent from disks may be there all the same; errors are those of the disks' reads.

    LVM passes over a PV that it cannot read.
    """
    if errors:
        raise Failed(
            f"{absent.message}; the kernel says: {errors[0]}",
            hint=f"the disk, its cable or its power is at fault (dmesg): what it holds cannot be told. {absent.hint}",
        ) from absent


def refuse_several(found: Found) -> None:
    """Raise Refused unless what is to be packed is one PV on one disk: in-place mode can no more."""
    pvs = [pv.device for vg in found.vgs for pv in vg.pvs]
    if len(pvs) > 1:
        raise Refused(
            f"cannot pack VG '{found.vg}' in place: its disks have {len(pvs)} PVs ({', '.join(pvs)})",
            hint="overlay mode can; or collect it on one with pvmove and vgreduce",
        )
    if len(found.disks) > 1:
        raise Refused(
            f"cannot pack {' and '.join(found.paths)} in place: that is for one disk",
            hint=f"overlay mode packs several; or name only {found.disk.path} with lvpack.disk=",
        )


def refuse_marked(found: Found, unfinished: Sequence[Path] = (), own: str = "") -> None:
    """Raise Refused if a VG has a tag of an in-place run that was cut off: its journal was not found under this disk.

    unfinished are the journal folders of other disks with this VG, own is the name of the folder for this one.
    """
    hint = (
        "boot with the options of that run (lvpack.mode=inplace, the same lvpack.target) to finish it; do not start "
        "the server and do not run e2fsck"
    )
    if unfinished:
        names = ", ".join(path.name for path in unfinished)
        hint = (
            f"not finished on this share: {names}. If that is of this disk, which had another name then, rename the "
            f"folder to '{own}' and boot again; else {hint}"
        )
    for vg in found.vgs:
        if tags := [tag for tag in vg.tags if tag == TAG or tag.startswith(MERGE_TAG)]:
            raise Refused(
                f"cannot use VG '{vg.name}': it has the tag {', '.join(tags)}, so an in-place run was cut off, and its "
                "filesystems may be half merged",
                hint=hint,
            )


@contextmanager
def surveyed(
    found: Found,
    devices: Sequence[str],
    session: Session,
    *,
    margin: Margin,
    rebuild: bool,
    room: Callable[[], int] | None = None,
    repair_all: bool = False,
) -> Iterator[Survey]:
    """Probe the source and plan; warn of what was found.

    margin is left free in each filesystem. With rebuild, XFS on LVs may be made anew. room returns the bytes that the
    overlay's store can still take; if it is given, the plan has to fit that. repair_all: as for opened().
    """
    sources = tuple(zip(devices, (disk.without_table() for disk in found.disks), strict=True))
    with opened(sources, "source", repair=True, repair_all=repair_all, rebuild=rebuild) as source:
        for finding in (*source.corrected, *source.findings):
            session.warn(finding)
        others = [(f"disk {disk.describe()}", disk.size) for disk in found.others]
        wished = leaving_out(make_plan(source.layout, margin, kept=found.kept), others)
        planned = wished
        if room:
            fitting = fitted(source.layout, margin, room(), kept=found.kept)
            planned = leaving_out(fitting, others)
        for name in planned.moved_boot_loaders():
            session.warn(f"{name}, a BIOS boot partition, moves: install GRUB again (grub-install) after a restore")
        session.measured(
            source_disk=sum(disk.size for disk in found.disks),
            packed_disk=planned.packed_size,
            store=planned.store,
        )
        yield Survey(source=source, plan=planned, wished=wished, host=tables.host_name(source) or found.vg)
