"""Image sets: what lies on the share, how it is written so that NAME is always complete, how it is checked."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent import VERSION
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import checksums as streams
from lvpack_agent.image import frames
from lvpack_agent.image.checksums import SUFFIXES, Checksums, is_zero
from lvpack_agent.image.frames import Piece
from lvpack_agent.image.pacing import Pace
from lvpack_agent.image.zstd import Damaged
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Lookup, Range
from lvpack_agent.machine import efi_entries as efi
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.plan.values import LEAVE_OUT, Plan
from lvpack_agent.processes import ToolFailed
from lvpack_agent.progress import Progress
from lvpack_agent.settings.table import Compression
from lvpack_agent.sizes import human

# An lvpack that knows sets of one disk only must not take one of several disks for such a one.
SCHEMA, SCHEMA_SEVERAL = 1, 2
MANIFEST, SUMS, RESTORE = "manifest.json", "SHA256SUMS", "RESTORE.txt"
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A packed disk in an image set: its file's name, its block map in bytes, and its checksums."""

    image: str
    block_map: tuple[Range, ...]
    checksums: Checksums

    @property
    def bmap(self) -> str:
        """The name of the file with the block map for bmaptool(1)."""
        return f"{self.image.partition('.')[0]}.img.bmap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """manifest.json. machine is what DMI says; plan holds the source's layout; block_map is in bytes of the image.

    image, block_map and checksums are the first packed disk's, further has those of the others in their order.
    boot is what the source's firmware had boot entries for on one disk (boot_disk, an index into packed.disks), if it
    booted by UEFI, in their order.
    sizes (bytes) and timings (seconds by phase) are those of the report, as far as they were known then.
    """

    schema: int
    lvpack: str
    name: str
    created: str
    machine: dict[str, str]
    plan: Plan
    packed: Layout
    image: str
    compression: Compression
    block_map: tuple[Range, ...]
    checksums: Checksums
    boot: tuple[Loader, ...] = ()
    boot_disk: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    further: tuple[Image, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of all packed disks."""
        return (Image(image=self.image, block_map=self.block_map, checksums=self.checksums), *self.further)

    @property
    def packed_size(self) -> int:
        """The bytes of all packed disks."""
        return sum(image.checksums.raw_size for image in self.images)

    @property
    def stored_size(self) -> int:
        """The bytes of all images as they are stored."""
        return sum(image.checksums.stored_size for image in self.images)


def image_name(index: int, suffix: str) -> str:
    """Return the name of the image of a packed disk."""
    return f"disk{index or ''}.img{suffix}"


class Writer:
    """Writes a set as NAME.partial; at its end renamed to NAME if all went well, removed if not.

    Made before what the backup sets up, so that the set gets its name only when that has been taken down in order.
    """

    def __init__(self, share: Path) -> None:
        self._share = share
        self._partial: Path | None = None

    def begin(self, name: str, *, leftover: bool = False) -> Path:
        """Make the folder and return it. Raises Refused if NAME or NAME.partial exists, Failed if it cannot be made.

        leftover: a NAME.partial is known to be of an earlier boot of this very run, and gives way.
        """
        partial = self._share / (name + PARTIAL)
        refuse_taken(self._share, name)
        if leftover:
            shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
        except FileExistsError:
            raise Refused(
                f"cannot write image set '{name}': '{partial.name}' exists on the share",
                hint="another backup is writing it, or was cut off; if none is running, remove that folder",
            ) from None
        except OSError as error:
            raise Failed(
                f"cannot write to the share: {error.strerror}",
                hint="check that the server lets root of this machine write there",
            ) from error
        self._partial = partial
        return partial

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._partial is None:
            return
        try:
            if error is None:
                self._partial.rename(self._partial.with_name(self._partial.name.removesuffix(PARTIAL)))
                return
        except OSError as late:
            error = late
        shutil.rmtree(self._partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise Failed(
                f"cannot write image set '{self._partial.name}' to the share: {error.strerror}",
                hint="check the space on the share and the network, and try again",
            ) from error


def refuse_taken(share: Path, name: str) -> None:
    """Raise Refused if there is an image set, or anything, of that name on the share."""
    if (share / name).exists():
        raise Refused(
            f"cannot write image set '{name}': it exists on the share",
            hint="choose another lvpack.name, or remove the old set",
        )


def write_image(
    device: Path,
    path: Path,
    compression: Compression,
    ranges: tuple[Range, ...],
    size: int,
    progress: Progress,
    pace: Pace,
) -> Checksums:
    """Stream the ranges of a device, size bytes in all with zeros between, to an image file, and sync it."""
    with path.open("wb", buffering=0) as file, progress.ticking():

        def sink(data: bytes | bytearray) -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

        pieces = frames.pieces(device, ranges, size, frames.longest_hole(compression), pace.read)
        checksums = frames.write(pieces, compression, sink, progress.add, pace)
        os.fsync(file.fileno())
    if checksums.raw_size != size:
        raise Failed(f"cannot dump '{device}': {checksums.raw_size:,} bytes read, {size:,} promised")
    return checksums


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a small file of the set and sync it."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def copy_layout(layout: Path, folder: Path) -> None:
    """Copy the files of a folder into layout/ of another, each synced."""
    for path in sorted(layout.iterdir()):
        write_text(folder, f"layout/{path.name}", path.read_text(encoding="utf-8", errors="surrogateescape"))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    form = to_json(manifest)
    if not manifest.further:
        del form["further"], form["boot_disk"]  # a set of one disk looks as it always did
    write_text(folder, MANIFEST, json.dumps(form, indent=1) + "\n")


def write_sums(folder: Path, images: tuple[Image, ...]) -> None:
    """Write SHA256SUMS over all files of the set; the images' sums are known from their dumps."""
    known = {image.image: image.checksums.stored_sha256 for image in images}
    lines = [f"{sha256}  {name}" for name, sha256 in known.items()]
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in (*known, SUMS):
            lines.append(f"{_sha256(path)}  {name}")
    write_text(folder, SUMS, "\n".join(lines) + "\n")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for data in streams.file_blocks(path):
        digest.update(data)
    return digest.hexdigest()


def _damaged(folder: Path, cause: str) -> Failed:
    return Failed(
        f"cannot trust image set '{folder.name}': {cause}",
        hint="take another copy of the set, or make it anew; `sha256sum -c SHA256SUMS` in it says what else is wrong",
    )


def _cause(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def read_manifest(folder: Path) -> Manifest:
    """Read and check everything of a set but its image: manifest, SHA256SUMS and the small files they name.

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
    sums = _read_sums(folder)
    for image in manifest.images:
        if sums.get(image.image) != image.checksums.stored_sha256:
            raise _damaged(folder, f"{SUMS} and {MANIFEST} disagree about {image.image}")
    images = [image.image for image in manifest.images]
    for name, expected in sums.items():
        if name in images:
            continue
        try:
            found = _sha256(folder / name)
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
        if not streams.decompressor(image.image) and image.checksums.stored_size != size:
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
        if (said := manifest.sizes.get(name, total)) != total:
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
    """Read all images of a set to their ends. Raises Failed: what is wrong with them."""
    check_files(folder, manifest)
    for image in manifest.images:
        check_image(folder, image, say)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check what can be known of all images of a set before they are read. Raises Failed: what is wrong with them."""
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
    """Read an image to its end, decompressed into put (see frames.read). Raises Failed: what is wrong with it."""
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


def _left_out(manifest: Manifest) -> str:
    """Return what the server has and the image has not, for people; "" if that is nothing."""
    lines = [
        f"   {step.object}: {human(step.before - step.after)}, {step.reason}\n"
        for step in manifest.plan.steps
        if step.verb == LEAVE_OUT
    ]
    return "".join(["Not in this image:\n\n", *lines, "\n"]) if lines else ""


def restore_text(manifest: Manifest) -> str:
    """Return RESTORE.txt: how to restore by hand."""
    several = len(manifest.images) > 1
    # No kernel has such a device: nobody can paste a line of several disks unread.
    devices = [f"/dev/TARGET{n}" if several else "/dev/sdX" for n in range(len(manifest.images))]
    parts = tuple(zip(manifest.images, manifest.packed.disks, devices, strict=True))
    opener = {"zstd": "zstd -dc", "gzip": "gzip -dc", "none": "cat"}[manifest.compression.method]
    commands = [f"   {opener} {image.image} | dd of={device} bs=4M conv=fsync\n" for image, _, device in parts]
    commands += [
        f"   sfdisk --relocate gpt-bak-std {device}   # the disk is bigger: put its backup GPT at its end\n"
        for _, disk, device in parts
        if disk.table and disk.table.label == "gpt"
    ]
    bmaps = [f"   bmaptool copy --bmap {image.bmap} {image.image} {device}\n" for image, _, device in parts]
    with_disks = " lvpack.disk=TARGET0 …, the disks in this order" if several else ""
    return (
        f"{manifest.name}: {f'{len(parts)} disks' if several else 'a disk'} packed by lvpack {manifest.lvpack} on "
        f"{manifest.created}\n\n"
        f"{_needs_text(manifest)}"
        "   sha256sum -c SHA256SUMS\n"
        f"{''.join(commands)}\n"
        f"bmaptool writes only what holds data:\n\n{''.join(bmaps)}\n"
        f"{_boot_text(manifest.boot, devices[manifest.boot_disk])}"
        "With lvpack: boot its image with lvpack.action=restore lvpack.source=URL-OF-THIS-FOLDER"
        f"{with_disks}\n\n"
        f"{_left_out(manifest)}"
        "The swap areas are small now, and the filesystems have little free space. To grow them by hand: enlarge the\n"
        "PV's partition, pvresize, lvextend --resizefs, mkswap with the same UUID. layout/ has what the source was.\n"
    )


def _needs_text(manifest: Manifest) -> str:
    needs = [
        f"{disk.size:,} bytes ({human(disk.size)}), sectors of {disk.sector_size} bytes"
        for disk in manifest.packed.disks
    ]
    if len(needs) == 1:
        return (
            f"The target needs at least {needs[0]},\nand everything on it will be lost. Boot any Linux on it, then:\n\n"
        )
    lines = [f"   /dev/TARGET{number}: {need}\n" for number, need in enumerate(needs)]
    return (
        f"The targets, which all have to be restored, need at least\n\n{''.join(lines)}\n"
        "and everything on them will be lost. Boot any Linux there, then, with the names of the disks:\n\n"
    )


def _boot_text(loaders: tuple[Loader, ...], device: str) -> str:
    if not loaders:
        return ""
    commands = [f"   {shlex.join(efi.creating(device, loader))}\n" for loader in reversed(loaders)]
    return (
        "The source booted by UEFI. If the machine has no boot entry for the disk, boot that Linux by UEFI, too, and\n"
        f"make it:\n\n{''.join(commands)}\n"
        "Or do without one: copy that file, on its partition, to EFI/BOOT/BOOTX64.EFI, and the other .efi files\n"
        "beside it to EFI/BOOT, but those that begin with fb.\n\n"
    )
