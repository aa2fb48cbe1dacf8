"""Image sets on the workstation: inspect, verify, convert."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import check
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.image.pieces import Piece
from lvpack_agent.plan import text
from lvpack_agent.processes import run
from lvpack_agent.sizes import human


def describe(manifest: Manifest) -> str:
    """Return a summary of a set for people."""
    before = {old.uuid: old.extents for old, _ in manifest.plan.lvs()}
    machine = " ".join(manifest.machine.get(key, "") for key in ("sys_vendor", "product_name")).strip()
    lines = [
        f"image set  {manifest.name}, made {manifest.created} by lvpack {manifest.lvpack}",
        f"machine    {machine or 'unknown'}",
        *(
            f"source     {disk.model or disk.path}, {human(disk.size)}, sectors of {disk.sector_size} bytes"
            for disk in manifest.plan.source.disks
        ),
        *(line for image in manifest.images for line in _image_lines(image, manifest)),
    ]
    for vg in manifest.packed.vgs:
        lines.append(f"VG         {vg.name}, {vg.uuid}, extents of {human(vg.extent_size)}")
        for lv in vg.lvs:
            size, was = (human(extents * vg.extent_size) for extents in (lv.extents, before[lv.uuid]))
            lines.append(f"  LV       {lv.name}: {lv.content.type or 'unknown'}, {size}, was {was}")
    lines += [f"boot       by UEFI: '{loader.title}', {loader}" for loader in manifest.boot]
    lines += [f"warning    {text}" for text in manifest.warnings]
    return "\n".join(lines)


def _image_lines(image: Image, manifest: Manifest) -> Iterator[str]:
    size, data = image.checksums.raw_size, sum(part.count for part in image.block_map)
    yield f"packed     {human(size)} ({size:,} bytes), {human(data)} of it data"
    yield f"stored     {human(image.checksums.stored_size)} in {image.image} ({manifest.compression})"


def plan_text(manifest: Manifest) -> str:
    """Return the plan that the set was packed by."""
    return text.as_text(manifest.plan)


def verify(folder: Path, say: Callable[[str], None]) -> Manifest:
    """Check a set in full. Raises Failed or Refused that says what is wrong with it."""
    manifest = check.read_manifest(folder)
    check.check_images(folder, manifest, say)
    return manifest


def outputs(manifest: Manifest, out: Path) -> tuple[Path, ...]:
    """Return the files that a set is converted to, one for each disk: OUT.qcow2, OUT-1.qcow2, …."""
    return tuple(out.with_stem(f"{out.stem}-{n}") if n else out for n in range(len(manifest.images)))


def convert(folder: Path, out: Path, say: Callable[[str], None]) -> tuple[Path, ...]:
    """Write the packed disks of a set as qcow2 files, checked on the way; return their names.

    Raises Refused if one exists, before any is made.
    """
    if out.suffix != ".qcow2":
        raise Refused(f"cannot convert to '{out}': it is not a .qcow2 file", hint="name it OUT.qcow2")
    if out.exists():
        raise _existing(out)
    manifest = check.read_manifest(folder)
    files = outputs(manifest, out)
    for file in files:
        if file.exists():
            raise _existing(file)
    try:
        with tempfile.TemporaryDirectory(prefix=".lvpack-", dir=out.parent) as scratch:
            made = [_converted(folder, image, Path(scratch), say) for image in manifest.images]
            for new, file in zip(made, files, strict=True):
                new.rename(file)
    except OSError as error:
        raise Failed(
            f"cannot convert to '{out}': {error.strerror}", hint="check the folder and the space there"
        ) from error
    return files


def _existing(out: Path) -> Refused:
    return Refused(f"cannot convert to '{out}': it exists", hint="remove it, or name another file")


def _converted(folder: Path, image: Image, scratch: Path, say: Callable[[str], None]) -> Path:
    """Write an image as a qcow2 file in a scratch folder, and return that."""
    raw, new = scratch / "disk.img", scratch / f"{image.image}.qcow2"
    with raw.open("wb", buffering=0) as file:

        def put(at: int, piece: Piece) -> None:
            if not isinstance(piece, int):
                os.pwrite(file.fileno(), piece, at)

        check.check_image(folder, image, say, put)
        file.truncate(image.checksums.raw_size)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, new])
    raw.unlink()
    return new
