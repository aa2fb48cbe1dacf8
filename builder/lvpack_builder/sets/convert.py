"""Image sets as disks of virtual machines."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import check
from lvpack_agent.image.losses import summary
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.image.pieces import Piece
from lvpack_agent.processes import run
from lvpack_agent.shares.stored import Source
from lvpack_builder.sets.place import Means, Place, opened_set


def outputs(manifest: Manifest, out: Path) -> tuple[Path, ...]:
    """Return the files that a set is converted to, one for each disk: OUT.qcow2, OUT-1.qcow2, …."""
    return tuple(out.with_stem(f"{out.stem}-{n}") if n else out for n in range(len(manifest.images)))


def convert(place: Place, out: Path, how: Means, say: Callable[[str], None]) -> tuple[Path, ...]:
    """Write the packed disks of a set as qcow2 files, checked on the way; return their names.

    Raises Refused if one exists, before any is made.
    """
    if out.suffix != ".qcow2":
        raise Refused(f"cannot convert to '{out}': it is not a .qcow2 file", hint="name it OUT.qcow2")
    if out.exists():
        raise _existing(out)
    with opened_set("convert", place, how) as (folder, source):
        return _converted(folder, source, out, say)


def _converted(folder: Path, source: Source, out: Path, say: Callable[[str], None]) -> tuple[Path, ...]:
    manifest = check.read_manifest(folder, lambda cause: say(f"warning: {cause}"), source)
    if missing := summary(manifest.unreadable):
        say(f"warning: {missing}")
    files = outputs(manifest, out)
    for file in files:
        if file.exists():
            raise _existing(file)
    try:
        with tempfile.TemporaryDirectory(prefix=".lvpack-", dir=out.parent) as scratch:
            made = [_qcow2(folder, source, image, Path(scratch), say) for image in manifest.images]
            for new, file in zip(made, files, strict=True):
                new.rename(file)
    except OSError as error:
        raise Failed(
            f"cannot convert to '{out}': {error.strerror}", hint="check the folder and the space there"
        ) from error
    return files


def _existing(out: Path) -> Refused:
    return Refused(f"cannot convert to '{out}': it exists", hint="remove it, or name another file")


def _qcow2(folder: Path, source: Source, image: Image, scratch: Path, say: Callable[[str], None]) -> Path:
    """Write an image as a qcow2 file in a scratch folder, and return that."""
    raw, new = scratch / "disk.img", scratch / f"{image.image}.qcow2"
    with os.fdopen(guarded.create(raw), "wb", buffering=0) as file:

        def put(at: int, piece: Piece) -> None:
            if not isinstance(piece, int):
                os.pwrite(file.fileno(), piece, at)

        check.check_image(folder, image, say, put, source)
        file.truncate(image.checksums.raw_size)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, new])
    new.chmod(0o600)  # as the files of the set: it holds the same secrets
    raw.unlink()
    return new
