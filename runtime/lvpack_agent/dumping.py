"""From a packed disk to an image set, the same in both modes."""

import time
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import VERSION, blockmap, bmap, efi, frames, imageset, rescue, usage
from lvpack_agent.layout import Range
from lvpack_agent.options import Settings
from lvpack_agent.pacing import Pace
from lvpack_agent.plan import Plan
from lvpack_agent.probe import Opened, Place
from lvpack_agent.progress import Progress
from lvpack_agent.report import Run
from lvpack_agent.sizes import human
from lvpack_agent.streams import SUFFIXES
from lvpack_agent.verification import verified


def set_name(wanted: str, host: str) -> str:
    """Return the name of the image set: what lvpack.name asks for, or HOST-UTCSTAMP."""
    return wanted or time.strftime(f"{host}-%Y%m%dT%H%M%SZ", time.gmtime())


def _free(checked: Opened, run: Run) -> dict[Place | str, tuple[Range, ...]]:
    """Return what filesystems other than ext2/3/4 leave free; warn of those that are read whole."""
    found = {}
    for volume in checked.volumes():
        if volume.content.type in usage.TYPES:
            run.say(f"map {volume.name} ({volume.content.type})")
            try:
                found[volume.key] = usage.free(volume.device, volume.content.type)
            except usage.Unmapped as cause:
                run.warn(f"{volume.name} ({volume.content.type}) is read whole, its free blocks too: {cause}")
    return found


def dump(
    folder: Path,
    packed: str,
    planned: Plan,
    settings: Settings,
    run: Run,
    log: Path,
    check_store: Callable[[], object] = lambda: None,
) -> None:
    """Check that the packed disk is what was planned, write its image and all that goes with it, and read that back.

    folder is the new image set; what is in it already (layout/) becomes part of it. check_store raises if what was
    read may not be the packed disk any more.
    """
    with run.phase("check"):
        with verified(packed, planned.target, run.say) as checked:
            block_map = blockmap.of_disk(checked.layout, planned.shrunk_lvs(), _free(checked, run))
        run.sizes["mapped"] = sum(r.count for r in block_map)
        run.say(f"{human(run.sizes['mapped'])} of {human(planned.packed_size)} hold data; the rest is not read")
        check_store()
    compress = settings.compress
    image = "disk.img" + SUFFIXES[compress.method]
    size = planned.packed_size
    with run.phase("dump"):
        progress = Progress("dump", size, run.say)
        pace = Pace(workers=frames.worker_count(), fixed=compress.level)
        checksums = imageset.write_image(Path(packed), folder / image, compress, block_map, size, progress, pace)
        check_store()
        run.say(progress.line())
        if compress.method == "zstd":
            run.compression = pace.summary()
            run.say(run.compression)
    run.sizes["image"] = checksums.stored_size
    manifest = imageset.Manifest(
        schema=imageset.SCHEMA,
        lvpack=VERSION,
        name=run.name,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=rescue.machine(),
        plan=planned,
        packed=planned.target,
        image=image,
        compression=compress,
        block_map=block_map,
        checksums=checksums,
        boot=efi.booted(planned.source.disks[0].table),
        sizes=dict(run.sizes),
        timings=dict(run.timings),
        warnings=tuple(run.warnings),
    )
    imageset.write_manifest(folder, manifest)
    imageset.write_text(folder, imageset.BMAP, bmap.render(block_map, size))
    imageset.write_text(folder, imageset.RESTORE, imageset.restore_text(manifest))
    imageset.write_text(folder, "agent.log", log.read_text(encoding="utf-8", errors="replace"))
    imageset.write_sums(folder, image, checksums.stored_sha256)
    if not settings.readback:
        run.say("the image is not read back: lvpack.readback=no")
        return
    with run.phase("read back"):
        imageset.check_image(folder, imageset.read_manifest(folder), run.say)
