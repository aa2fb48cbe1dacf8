"""Reading and checking an image set, which comes before every use of it."""

import json
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import files, frames
from lvpack_agent.image.checksums import sha256_of
from lvpack_agent.image.files import MANIFEST, SUFFIXES, SUMS
from lvpack_agent.image.manifest import SCHEMA, SCHEMA_SEVERAL, Image, Manifest
from lvpack_agent.image.pieces import Piece
from lvpack_agent.image.zstd import Damaged
from lvpack_agent.jsonform import from_json
from lvpack_agent.layout.ranges import Lookup
from lvpack_agent.pipes import is_zero
from lvpack_agent.processes import ToolFailed
from lvpack_agent.progress import Progress
from lvpack_agent.report import UNKNOWN


def _damaged(folder: Path, cause: str) -> Failed:
    return Failed(
        f"cannot trust image set '{folder.name}': {cause}",
        hint="take another copy of the set, or make it anew; `sha256sum -c SHA256SUMS` in it says what else is wrong",
    )


def _cause(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def read_manifest(folder: Path) -> Manifest:
    """Read and check a set without its images: manifest, SHA256SUMS and the small files that these name.

    Raises Refused if this is no image set or of an unknown schema, Failed if it is damaged.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(
            f"cannot read image set '{folder.name}': there is no {MANIFEST} in it",
            hint="give the folder that holds disk.img.zst",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read: {_cause(error)}") from error
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("it is not an object")
        if data.get("schema") not in (SCHEMA, SCHEMA_SEVERAL):
            raise Refused(
                f"cannot read image set '{folder.name}': its schema is {data.get('schema')}, not {SCHEMA} or "
                f"{SCHEMA_SEVERAL}",
                hint=f"use the lvpack that made it ({data.get('lvpack')}); this is {VERSION}",
            )
        manifest = from_json(Manifest, data)
    except ValueError as error:
        raise _damaged(folder, f"{MANIFEST} is damaged: {error}") from error
    if len(manifest.images) != len(manifest.packed.disks):
        raise _damaged(folder, f"{MANIFEST} has {len(manifest.images)} images of {len(manifest.packed.disks)} disks")
    if not 0 <= manifest.boot_disk < len(manifest.images):
        raise _damaged(folder, f"{MANIFEST} says that disk {manifest.boot_disk} boots, and has no such disk")
    _check_sizes(folder, manifest)
    if cause := manifest.contradiction():
        raise _damaged(folder, f"{MANIFEST} contradicts itself: {cause}")
    sums = _read_sums(folder)
    for image in manifest.images:
        if sums.get(image.image) != image.checksums.stored_sha256:
            raise _damaged(folder, f"{SUMS} and {MANIFEST} disagree about {image.image}")
    images = [image.image for image in manifest.images]
    for name, expected in sums.items():
        if name in images:
            continue
        try:
            found = sha256_of(folder / name)
        except Failed as failed:
            raise _damaged(folder, failed.message) from failed
        if found != expected:
            raise _damaged(folder, f"{name} has changed since it was written")
    return manifest


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    """Compare what a manifest says about sizes, in bytes, in several places. Raises Failed where they differ."""
    packed, planned = manifest.packed.disks, manifest.plan.target.disks
    if len(packed) != len(planned):
        raise _damaged(folder, f"{MANIFEST} has {len(packed)} disks, and a plan for {len(planned)}")
    for image, disk, target in zip(manifest.images, packed, planned, strict=True):
        size = image.checksums.raw_size
        if not size == disk.size == target.size:
            sizes = f"{size:,} bytes as an image, {disk.size:,} as a disk and {target.size:,} in the plan"
            raise _damaged(folder, f"{MANIFEST} has {image.image} with {sizes}")
        if not files.decompressor(image.image) and image.checksums.stored_size != size:
            stored = image.checksums.stored_size
            raise _damaged(folder, f"{MANIFEST} has {image.image}, not compressed, with {stored:,} bytes of {size:,}")
        end = 0
        for part in image.block_map:
            if part.start < end or part.count <= 0 or part.end > size:
                where = f"bytes {part.start:,} to {part.end:,}"
                raise _damaged(folder, f"{MANIFEST} has a block map of {image.image} in which {where} are out of place")
            end = part.end
    mapped = sum(part.count for image in manifest.images for part in image.block_map)
    sums = {"packed_disk": manifest.packed_size, "image": manifest.stored_size, "mapped": mapped}
    for name, total in sums.items():
        if (said := getattr(manifest.sizes, name)) not in (UNKNOWN, total):
            raise _damaged(folder, f"{MANIFEST} has {said:,} bytes for {name}, its disks have {total:,}")


def _read_sums(folder: Path) -> dict[str, str]:
    sums = {}
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, f"{SUMS} cannot be read: {_cause(error)}") from error
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise _damaged(folder, f"{SUMS} has the line '{line}'")
        sums[name] = digest
    if MANIFEST not in sums:
        raise _damaged(folder, f"{SUMS} does not name {MANIFEST}")
    return sums


def check_images(folder: Path, manifest: Manifest, say: Callable[[str], None]) -> None:
    """Read all images of a set to their ends. Raises Failed that says what is wrong."""
    check_files(folder, manifest)
    for image in manifest.images:
        check_image(folder, image, say)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check what can be checked of all images of a set without reading them. Raises Failed that says what is wrong."""
    for image in manifest.images:
        _check_file(folder, image)


def _check_file(folder: Path, image: Image) -> None:
    """Check that an image is there, its length, and the seek table that a zstd image has (gzip has nothing like it)."""
    promised, path = image.checksums, folder / image.image
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _damaged(folder, f"{image.image} cannot be read: {_cause(error)}") from error
    if size != promised.stored_size:
        raise _damaged(folder, f"{image.image} has {size:,} bytes, not {promised.stored_size:,}")
    if path.suffix == SUFFIXES["zstd"]:
        try:
            frames.check_table(path, image.block_map, promised.raw_size)
        except Damaged as damaged:
            raise _damaged(folder, f"{image.image} is damaged: {damaged.message}") from damaged


def check_image(
    folder: Path,
    image: Image,
    say: Callable[[str], None],
    put: Callable[[int, Piece], object] = lambda at, piece: None,
) -> None:
    """Read an image to its end, decompressed into put (see frames.read). Raises Failed that says what is wrong."""
    _check_file(folder, image)
    promised, mapped = image.checksums, Lookup(image.block_map)
    progress = Progress(f"read {image.image}", promised.stored_size, say)

    def put_mapped(at: int, piece: Piece) -> None:
        if not isinstance(piece, int):
            data = memoryview(piece)
            for gap in mapped.outside(at, len(data)):
                if not is_zero(data[gap.start - at : gap.end - at]):
                    cause = f"{image.image} has data in bytes {gap.start:,} to {gap.end:,}, its block map has none"
                    raise _damaged(folder, cause)
        put(at, piece)

    try:
        with progress.ticking():
            found = frames.read(folder / image.image, put_mapped, progress.add)
    except (ToolFailed, Damaged) as failed:
        raise _damaged(folder, f"{image.image} is damaged: {failed.message}") from failed
    say(progress.line())
    if found != promised:
        cause = "its bytes have another checksum" if found.raw_size == promised.raw_size else "its length is another"
        raise _damaged(folder, f"{image.image} is damaged: {cause}")
