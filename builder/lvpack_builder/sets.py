"""Image sets on the workstation: inspect, verify, convert."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import imageset, plan
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.frames import Piece
from lvpack_agent.imageset import Manifest
from lvpack_agent.processes import run
from lvpack_agent.sizes import human


def describe(manifest: Manifest) -> str:
    """Return a summary of a set for people."""
    [packed] = manifest.packed.disks
    before = {old.uuid: old.extents for old, _ in manifest.plan.lvs()}
    data = sum(part.count for part in manifest.block_map)
    machine = " ".join(manifest.machine.get(key, "") for key in ("sys_vendor", "product_name")).strip()
    lines = [
        f"image set  {manifest.name}, made {manifest.created} by lvpack {manifest.lvpack}",
        f"machine    {machine or 'unknown'}",
        *(
            f"source     {disk.model or disk.path}, {human(disk.size)}, sectors of {disk.sector_size} bytes"
            for disk in manifest.plan.source.disks
        ),
        f"packed     {human(packed.size)} ({packed.size:,} bytes), {human(data)} of it data",
        f"stored     {human(manifest.checksums.stored_size)} in {manifest.image} ({manifest.compression})",
    ]
    for vg in manifest.packed.vgs:
        lines.append(f"VG         {vg.name}, {vg.uuid}, extents of {human(vg.extent_size)}")
        for lv in vg.lvs:
            size, was = (human(extents * vg.extent_size) for extents in (lv.extents, before[lv.uuid]))
            lines.append(f"  LV       {lv.name}: {lv.content.type or 'unknown'}, {size}, was {was}")
    lines += [f"boot       by UEFI: '{loader.title}', {loader}" for loader in manifest.boot]
    lines += [f"warning    {text}" for text in manifest.warnings]
    return "\n".join(lines)


def plan_text(manifest: Manifest) -> str:
    """Return the plan that the set was packed by."""
    return plan.as_text(manifest.plan)


def verify(folder: Path, say: Callable[[str], None]) -> Manifest:
    """Check a set in full. Raises Failed or Refused that says what is wrong with it."""
    manifest = imageset.read_manifest(folder)
    imageset.check_image(folder, manifest, say)
    return manifest


def convert(folder: Path, out: Path, say: Callable[[str], None]) -> None:
    """Write the packed disk of a set as a qcow2 file, checked on the way. Raises Refused if the file exists."""
    if out.suffix != ".qcow2":
        raise Refused(f"cannot convert to '{out}': it is not a .qcow2 file", hint="name it OUT.qcow2")
    if out.exists():
        raise Refused(f"cannot convert to '{out}': it exists", hint="remove it, or name another file")
    manifest = imageset.read_manifest(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".lvpack-", dir=out.parent) as scratch:
            raw = Path(scratch) / "disk.img"
            with raw.open("wb", buffering=0) as file:

                def put(at: int, piece: Piece) -> None:
                    if not isinstance(piece, int):
                        os.pwrite(file.fileno(), piece, at)

                imageset.check_image(folder, manifest, say, put)
                file.truncate(manifest.checksums.raw_size)
            new = Path(scratch) / "new.qcow2"
            run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, new])
            new.rename(out)
    except OSError as error:
        raise Failed(
            f"cannot convert to '{out}': {error.strerror}", hint="check the folder and the space there"
        ) from error
