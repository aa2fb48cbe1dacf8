"""lvpack.action=backup and plan: probe, plan, shrink and compact in an overlay, verify, dump."""

import time
from pathlib import Path

from lvpack_agent import VERSION, blockmap, bmap, disks, imageset, lvm, mappings, overlay, plan, rescue, shares
from lvpack_agent.discover import find
from lvpack_agent.errors import Refused
from lvpack_agent.layout import Disk, Range
from lvpack_agent.options import Compression, Settings
from lvpack_agent.overlay import Store
from lvpack_agent.plan import Plan, make_plan
from lvpack_agent.probe import opened
from lvpack_agent.progress import Progress
from lvpack_agent.report import Run
from lvpack_agent.sizes import human
from lvpack_agent.streams import SUFFIXES
from lvpack_agent.undo import Undo
from lvpack_agent.verification import verified


def backup(settings: Settings, run: Run, scratch: Path, log: Path) -> str:
    """Pack the server's disk into an image set, or only plan it; return the closing message.

    scratch is a folder for mounts and small files, log the agent's log so far.
    """
    with Undo() as undo:
        writer = None
        if settings.action == "backup":
            with run.phase("share"):
                url = shares.parse(settings.target)
                share = undo.enter_context(shares.mounted(url, scratch / "share", run.say, read_only=False))
            writer = undo.enter_context(imageset.Writer(share))
        with run.phase("probe"):
            all_disks = disks.read()
            disks.set_read_only(all_disks, undo)
            found = find(disks.select(all_disks, settings.disk), settings.vg)
            run.say(f"source: {found.disk.describe()}, VG {found.vg}; read-only from here on")
            for other in (d for d in all_disks if d is not found.disk):
                run.warn(f"disk {other.describe()} is not part of VG {found.vg}: left out")
            device, store = undo.enter_context(overlay.overlay(found.disk.path, scratch / "store"))
        real = found.disk
        like = Disk(
            path=real.path,
            size=real.size,
            sector_size=real.sector_size,
            table=None,
            model=real.model,
            serial=real.serial,
        )
        with Undo() as source_undo:
            with run.phase("plan"):
                source = source_undo.enter_context(opened(device, "source", like=like, repair=True))
                for finding in source.findings:
                    run.warn(finding)
                planned = make_plan(source.layout, settings.margin)
                run.sizes |= {
                    "source_disk": found.disk.size,
                    "packed_disk": planned.packed_size,
                    "store": planned.store,
                }
                run.say(plan.as_text(planned, store.size))
                host = rescue.host_name(source) or found.vg
            if writer is None:
                if planned.store > store.size:
                    run.warn(_too_small(planned, store).message)
                return f"planned: disk {found.disk.path} can become {human(planned.packed_size)}"
            if planned.store > store.size:
                raise _too_small(planned, store)
            run.name = settings.name or time.strftime(f"{host}-%Y%m%dT%H%M%SZ", time.gmtime())
            folder = writer.begin(run.name)
            vg_text = lvm.metadata_text(found.vg, source.pvs, scratch)
            rescue.write(folder, found.disk.path, source, vg_text, plan.as_text(planned, store.size))
            with run.phase("shrink"):
                for finding in overlay.shrink(source, planned, scratch / "filesystem", run.say):
                    run.warn(finding)
                run.sizes["store_used"] = mappings.store_use(overlay.SOURCE).used
        with run.phase("compact"):
            packed = overlay.packed_disk(planned, device, vg_text, scratch, undo)
        with run.phase("check"):
            with verified(packed, planned.target, run.say) as checked:
                block_map = blockmap.of_disk(checked.layout, planned.shrunk_lvs())
            run.sizes["mapped"] = sum(r.count for r in block_map)
            run.say(f"{human(run.sizes['mapped'])} of {human(planned.packed_size)} hold data; the rest is not read")
            mappings.store_use(overlay.SOURCE)
        _dump(folder, packed, planned, block_map, settings.compress, run, log)
    return (
        f"packed disk {found.disk.path} ({human(found.disk.size)}) into {human(planned.packed_size)}, "
        f"{human(run.sizes['image'])} compressed, as image set {run.name}"
    )


def _too_small(planned: Plan, store: Store) -> Refused:
    missing = planned.store - store.size
    return Refused(
        f"cannot shrink in memory: the copy-on-write store needs about {human(planned.store)}, there is room for "
        f"{human(store.size)}",
        hint=f"give the machine {human(missing)} more memory, or shrink less with a larger lvpack.margin",
    )


def _dump(
    folder: Path,
    packed: str,
    planned: Plan,
    block_map: tuple[Range, ...],
    compress: Compression,
    run: Run,
    log: Path,
) -> None:
    """Write the image and all that goes with it, then read it back from the share."""
    image = "disk.img" + SUFFIXES[compress.method]
    size = planned.packed_size
    with run.phase("dump"):
        progress = Progress("dump", size, run.say)
        checksums = imageset.write_image(Path(packed), folder / image, compress, block_map, size, progress)
        mappings.store_use(overlay.SOURCE)  # an overflow would have made the last reads fail, or worse
        run.say(progress.line())
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
        sizes=dict(run.sizes),
        timings=dict(run.timings),
        warnings=tuple(run.warnings),
    )
    imageset.write_manifest(folder, manifest)
    imageset.write_text(folder, imageset.BMAP, bmap.render(block_map, size))
    imageset.write_text(folder, imageset.RESTORE, imageset.restore_text(manifest))
    imageset.write_text(folder, "agent.log", log.read_text(encoding="utf-8", errors="replace"))
    imageset.write_sums(folder, image, checksums.stored_sha256)
    with run.phase("read back"):
        imageset.check_image(folder, imageset.read_manifest(folder), run.say)
