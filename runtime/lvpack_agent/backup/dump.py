"""From a packed disk to an image set, the same in both modes.

Tested in guests, as it reads mapped disks: qemu-tests/tests/test_main_job.py, test_maps.py.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from lvpack_agent import VERSION, resources
from lvpack_agent.backup import badsectors, room, tables
from lvpack_agent.backup.badsectors import Origin
from lvpack_agent.backup.job import Job
from lvpack_agent.devices import ioerrors
from lvpack_agent.devices.blockdev import size_of
from lvpack_agent.filesystems.free import MAPPABLE, Unmapped, free_ranges
from lvpack_agent.image import blockmap, bmap, check, files, frames, losses, restore_text, write
from lvpack_agent.image.files import SUFFIXES
from lvpack_agent.image.losses import Loss
from lvpack_agent.image.manifest import SCHEMA, SCHEMA_SEVERAL, Image, Manifest, write_manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.image.salvage import Salvage, Unreadable, untried
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.spots import Spot
from lvpack_agent.machine import dmi, efi_boot
from lvpack_agent.machine.efi_entries import astray
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe.convert import Place
from lvpack_agent.probe.open import Opened
from lvpack_agent.probe.verify import verified
from lvpack_agent.progress import Progress
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.share import Share
from lvpack_agent.sizes import human


def set_name(share: Share, wanted: str, host: str) -> str:
    """Return the name of the image set: what lvpack.name asks for, or HOST-UTCSTAMP.

    Where a clock always begins at the same time that may be taken: a number follows then.
    """
    if wanted:
        return wanted
    stamped = time.strftime(f"{host}-%Y%m%dT%H%M%SZ", time.gmtime())
    names = (stamped, *(f"{stamped}-{number}" for number in range(2, 1000)))
    return next((n for n in names if not any(share.taken(f"{n}{end}") for end in ("", files.PARTIAL))), stamped)


def _free(checked: Opened, session: Session) -> dict[Place | str, tuple[Range, ...]]:
    """Return what filesystems other than ext2/3/4 leave free; warn of those that are read whole."""
    found = {}
    for volume in checked.volumes():
        if volume.content.type in MAPPABLE:
            session.say(f"map {volume.name} ({volume.content.type})")
            try:
                found[volume.key] = free_ranges(volume.device, volume.content.type)
            except Unmapped as cause:
                session.warn(f"{volume.name} ({volume.content.type}) is read whole, its free blocks too: {cause}")
    return found


def _dump_disk(
    share: Share,
    folder: Path,
    device: str,
    index: int,
    block_map: tuple[Range, ...],
    compress: Compression,
    session: Session,
    salvage: Salvage | None,
) -> Image:
    """Write the image of a packed disk, by its index, to the new image set; salvage fills what it does not read."""
    name, size = files.image_name(index, SUFFIXES[compress.method]), size_of(device)
    progress = Progress("dump" if not index else f"dump {name}", size, session.say)
    rate = share.rate
    held = (lambda: rate.waited) if rate else (lambda: 0.0)
    pace = Pace(workers=resources.worker_count(), fixed=compress.level, held=held)
    most = frames.most(block_map, size, compress)
    with share.created(folder / name, most) as sink, progress.ticking():
        checksums = write.write_image(Path(device), sink, compress, block_map, size, progress, pace, salvage)
    session.say(progress.line())
    if compress.method == "zstd":
        session.compression = "; ".join(filter(None, [session.compression, pace.summary()]))
        session.say(pace.summary())
    return Image(image=name, block_map=block_map, checksums=checksums)


def _images(
    job: Job, folder: Path, packed: Sequence[str], target: Layout, maps: Sequence[tuple[Range, ...]], origin: Origin
) -> tuple[tuple[Image, ...], list[Spot]]:
    """Write the images of packed disks, of layout target; return them, and what of their origin could not be read.

    Raises Failed that names disk, sector and file, if that shall not be skipped.
    """
    images, lost = [], []
    for index, (device, block_map) in enumerate(zip(packed, maps, strict=True)):
        with ExitStack() as undo:
            salvage = (
                undo.enter_context(badsectors.salvage(origin, index, device)) if job.settings.errors == "skip" else None
            )
            try:
                images.append(
                    _dump_disk(
                        job.shared, folder, device, index, block_map, job.settings.compress, job.session, salvage
                    )
                )
            except Unreadable as error:
                raise badsectors.explained(error, origin, index, packed, target, job.folder / "filesystem") from error
            if salvage:
                lost += [spot for part in salvage.lost for spot in origin.locate(index, part.start, part.count)]
                if given_up := sum(part.count for part in salvage.given_up):
                    job.session.warn(untried(given_up))
    return tuple(images), lost


def dump(
    job: Job,
    folder: Path,
    packed: Sequence[str],
    planned: Plan,
    origin: Origin,
    run: str,
    check_store: Callable[[], object] = lambda: None,
    known: Sequence[Loss] = (),
) -> list[Loss]:
    """Check that the packed disks are what was planned, write their images and all else, and read the set back.

    folder is the new image set; what is in it already (layout/) becomes part of it. origin is where the packed disks
    are read from; run: see Manifest; known is what of the origin could not be read, and is zeros. Return all that could
    not. check_store raises an error if what was read may not be the packed disk: the store has overflowed.
    """
    settings, session = job.settings, job.session
    with session.phase("check"):
        with verified(packed, planned.target, session.say) as checked:
            free = _free(checked, session)
            mounts = tables.mounts(checked)
            block_maps = [
                blockmap.of_disk(checked.layout, planned.shrunk_lvs(), free, index) for index in range(len(packed))
            ]
        mapped = sum(r.count for block_map in block_maps for r in block_map)
        session.measured(mapped=mapped)
        session.say(f"{human(mapped)} of {human(planned.packed_size)} hold data; the rest is not read")
        most = 0
        for index, block_map in enumerate(block_maps):
            name = files.image_name(index, SUFFIXES[settings.compress.method])
            size = frames.most(block_map, planned.target.disks[index].size, settings.compress)
            job.shared.refuse_large(name, size)
            most += size
        doubt = room.doubt(job.shared, most, mapped, is_exact=settings.compress.method == "none")
        if doubt and doubt not in session.warnings:  # in place it was asked before the disk was packed
            session.warn(doubt)
        check_store()
    with session.phase("dump"):
        by_tools = ioerrors.of_disks(ioerrors.read(), origin.paths)
        images, spots = _images(job, folder, packed, planned.target, block_maps, origin)
        check_store()
        lost = list(known)
        if spots:
            lost += badsectors.named_in_packed(spots, origin, packed, planned.target, job.folder / "filesystem")
        if missing := losses.summary(lost):
            session.warn(missing)
        elif said := losses.doubt(lost, by_tools, ioerrors.of_disks(ioerrors.read(), origin.paths)):
            session.warn(said)
    session.measured(image=sum(image.checksums.stored_size for image in images))
    first, *further = images
    boot_disk, loaders = efi_boot.booted([disk.table for disk in planned.source.disks[: len(packed)]])
    for loader in loaders:
        if cause := astray(loader.path):
            session.warn(f"boot entry {loader.title!a} ({loader.path!a}) is not kept: {cause}")
    manifest = Manifest(
        schema=SCHEMA_SEVERAL if further else SCHEMA,
        lvpack=VERSION,
        name=session.name,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=dmi.machine(),
        plan=planned,
        packed=planned.target,
        image=first.image,
        compression=settings.compress,
        block_map=first.block_map,
        checksums=first.checksums,
        boot=tuple(loader for loader in loaders if not astray(loader.path)),
        boot_disk=boot_disk,
        sizes=session.sizes,
        timings=session.timings,
        warnings=tuple(session.warnings),
        further=tuple(further),
        run=run,
        unreadable=tuple(lost),
        mounts=mounts,
    )
    write_manifest(folder, manifest)
    for image in images:
        files.write_text(folder, image.bmap, bmap.render(image.block_map, image.checksums.raw_size))
    if lost:
        sizes = {disk.path: disk.sector_size for disk in planned.source.disks}
        files.write_text(folder, losses.BAD_SECTORS, losses.render(lost, sizes))
    files.write_text(folder, files.RESTORE, restore_text.restore_text(manifest))
    files.write_text(folder, files.LOG, session.logged())
    write.write_sums(folder, images)
    job.shared.publish(folder, files.MANIFEST)
    if not settings.readback and not session.outages:
        session.say("the image is not read back: lvpack.readback=no")
        return lost
    if not settings.readback:
        session.say("the share did not answer for a while: the image is read back in spite of lvpack.readback=no")
    with session.phase("read_back"):
        source = job.shared.source
        check.check_images(folder, check.read_manifest(folder, source=source), session.say, source)
    return lost
