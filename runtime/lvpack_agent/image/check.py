"""Reading and checking an image set, which comes before every use of it."""

import re
import reprlib
from collections.abc import Callable
from pathlib import Path

from lvpack_agent import VERSION, guarded
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import files, frames
from lvpack_agent.image.files import MANIFEST, MANIFEST_MOST, SUMS
from lvpack_agent.image.manifest import SCHEMA, SCHEMA_SEVERAL, Image, Manifest
from lvpack_agent.image.pieces import Piece
from lvpack_agent.image.sums import changed, read_sums
from lvpack_agent.image.zstd import Damaged
from lvpack_agent.jsonform import from_json
from lvpack_agent.layout.ranges import Lookup
from lvpack_agent.machine.efi_entries import astray
from lvpack_agent.pipes import is_zero
from lvpack_agent.processes import ToolFailed
from lvpack_agent.progress import Progress
from lvpack_agent.report import UNKNOWN
from lvpack_agent.shares.stored import Source, local, whole

_IMAGE = re.compile(r"disk[1-9]?[0-9]*\.img(\.zst|\.gz)?")
# So many damages of a set are named.
NAMED = 5


def _damaged(folder: Path, cause: str) -> Failed:
    return Failed(
        f"cannot trust image set '{folder.name}': {cause}",
        hint="take another copy of the set, or make it anew; `sha256sum -c SHA256SUMS` in it says what else is wrong",
    )


def _unreadable(folder: Path, name: str, error: OSError) -> Failed:
    if not isinstance(error, PermissionError):
        return _damaged(folder, f"{name} cannot be read: {error.strerror}")
    return Failed(
        f"cannot read image set '{folder.name}': {name}: {error.strerror}",
        hint="a set is for the owner of its files only, unless it was made with lvpack.readers=group: read it as that "
        "user; a server that squashes root must have been squashing it when the set was made",
    )


def read_manifest(folder: Path, odd: Callable[[str], object] | None = None, source: Source = local) -> Manifest:
    """Read and check a set without its images: manifest, SHA256SUMS and the small files that these name.

    odd gets a sentence for each damage that keeps nobody from a restore, such as to agent.log; without it that is an
    error, too. Raises Refused if this is no image set or of an unknown schema, Failed if it is damaged or cannot be
    read.
    """
    beside: list[str] = []
    manifest = manifest_of(folder, _text(folder, source))
    try:
        sums = read_sums(folder, beside.append, source)
    except OSError as error:
        raise _unreadable(folder, SUMS, error) from error
    for image in manifest.images:
        if sums.get(image.image) != image.checksums.stored_sha256:
            raise _damaged(folder, f"{SUMS} and {MANIFEST} disagree about {image.image}")
    if fault := changed(folder, sums, [image.image for image in manifest.images], beside.append, source):
        raise _damaged(folder, fault)
    for loader in manifest.boot:
        if cause := astray(loader.path):
            beside.append(f"boot entry {loader.title!a} starts {loader.path!a}: {cause}")
    more = [f"{len(beside) - NAMED} more damages of this kind"] if len(beside) > NAMED else []
    for sentence in beside[:NAMED] + more:
        if odd is None:
            raise _damaged(folder, sentence)
        odd(sentence)
    return manifest


def _text(folder: Path, source: Source) -> bytes:
    try:
        return whole(source(folder / MANIFEST, MANIFEST_MOST), MANIFEST_MOST)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(
            f"cannot read image set '{folder.name}': there is no {MANIFEST} in it",
            hint="give the folder that holds disk.img.zst",
        ) from None
    except OSError as error:
        raise _unreadable(folder, MANIFEST, error) from error
    except MemoryError:
        raise _no_memory(folder) from None


def manifest_of(folder: Path, text: bytes) -> Manifest:
    """Return the manifest that manifest.json of a set holds, compared with itself; nothing else is read.

    Raises Refused if it is of an unknown schema, Failed if it is damaged or contradicts itself.
    """
    # Nobody else holds text when it is let go of here: it may have as many bytes as memory has.
    try:
        data = guarded.object_of(guarded.json_of(text))
        del text
        if data.get("schema") not in (SCHEMA, SCHEMA_SEVERAL):
            raise Refused(
                f"cannot read image set '{folder.name}': its schema is {reprlib.repr(data.get('schema'))}, not "
                f"{SCHEMA} or {SCHEMA_SEVERAL}",
                hint=f"use the lvpack that made it ({reprlib.repr(data.get('lvpack'))}); this is {VERSION}",
            )
        manifest = from_json(Manifest, data)
    except ValueError as error:
        raise _damaged(folder, f"{MANIFEST} is damaged: {error}") from error
    except MemoryError:
        raise _no_memory(folder) from None
    if len(manifest.images) != len(manifest.packed.disks):
        raise _damaged(folder, f"{MANIFEST} has {len(manifest.images)} images of {len(manifest.packed.disks)} disks")
    if not 0 <= manifest.boot_disk < len(manifest.images):
        raise _damaged(folder, f"{MANIFEST} says that disk {manifest.boot_disk} boots, and has no such disk")
    _check_sizes(folder, manifest)
    if cause := manifest.contradiction():
        raise _damaged(folder, f"{MANIFEST} contradicts itself: {cause}")
    for image in manifest.images:
        if not _IMAGE.fullmatch(image.image):
            raise _damaged(folder, f"{MANIFEST} has an image {image.image!a}, which is no name of one")
    return manifest


def _no_memory(folder: Path) -> Failed:
    return Failed(f"cannot read image set '{folder.name}': {MANIFEST} does not fit into memory", hint="use more memory")


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


def check_set(folder: Path, say: Callable[[str], None], source: Source = local) -> Manifest:
    """Check all of a set, and its images to their ends; return its manifest. Raises as read_manifest() does.

    The images come first: what else is damaged is said when it is known whether a restore is possible.
    """
    beside: list[str] = []
    manifest = read_manifest(folder, beside.append, source)
    check_images(folder, manifest, say, source)
    if beside:
        raise Failed(
            f"cannot trust all of image set '{folder.name}': {'; '.join(beside)}",
            hint="its images are whole, and a restore takes it; take another copy of the rest",
        )
    return manifest


def check_images(folder: Path, manifest: Manifest, say: Callable[[str], None], source: Source = local) -> None:
    """Read all images of a set to their ends. Raises Failed that says what is wrong."""
    check_files(folder, manifest, source)
    for image in manifest.images:
        check_image(folder, image, say, source=source)


def check_files(folder: Path, manifest: Manifest, source: Source = local) -> None:
    """Check what can be checked of all images of a set without reading them. Raises Failed that says what is wrong."""
    for image in manifest.images:
        _check_file(folder, image, source)


def _check_file(folder: Path, image: Image, source: Source) -> None:
    """Check that an image is there, its length, and the seek table that a zstd image has (gzip has nothing like it)."""
    promised, stored = image.checksums, source(folder / image.image)
    try:
        size = stored.size()
    except OSError as error:
        raise _unreadable(folder, image.image, error) from error
    if size != promised.stored_size:
        raise _damaged(folder, f"{image.image} has {size:,} bytes, not {promised.stored_size:,}")
    if files.is_zstd(image.image):
        try:
            frames.check_table(stored, image.block_map, promised.raw_size)
        except Damaged as damaged:
            raise _damaged(folder, f"{image.image} is damaged: {damaged.message}") from damaged


def check_image(
    folder: Path,
    image: Image,
    say: Callable[[str], None],
    put: Callable[[int, Piece], object] = lambda at, piece: None,
    source: Source = local,
) -> None:
    """Read an image to its end, decompressed into put (see frames.read). Raises Failed that says what is wrong."""
    _check_file(folder, image, source)
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
            found = frames.read(source(folder / image.image), put_mapped, progress.add)
    except (ToolFailed, Damaged) as failed:
        raise _damaged(folder, f"{image.image} is damaged: {failed.message}") from failed
    say(progress.line())
    if found != promised:
        cause = "its bytes have another checksum" if found.raw_size == promised.raw_size else "its length is another"
        raise _damaged(folder, f"{image.image} is damaged: {cause}")
