"""Image sets: what lies on the share, how it is written so that NAME is always complete, how it is checked."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent import VERSION, efi, frames, streams
from lvpack_agent.efi import Loader
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.frames import Piece
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout import Layout, Range
from lvpack_agent.options import Compression
from lvpack_agent.pacing import Pace
from lvpack_agent.plan import LEAVE_OUT, Plan
from lvpack_agent.processes import ToolFailed
from lvpack_agent.progress import Progress
from lvpack_agent.sizes import human
from lvpack_agent.streams import Checksums
from lvpack_agent.zstd import Damaged

SCHEMA = 1
MANIFEST, SUMS, RESTORE, BMAP = "manifest.json", "SHA256SUMS", "RESTORE.txt", "disk.img.bmap"
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """manifest.json. machine is what DMI says; plan holds the source's layout; block_map is in bytes of the image.

    boot is what the source's firmware had boot entries for on this disk, if it booted by UEFI, in their order.
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
    sizes: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


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
    write_text(folder, MANIFEST, json.dumps(to_json(manifest), indent=1) + "\n")


def write_sums(folder: Path, image: str, image_sha256: str) -> None:
    """Write SHA256SUMS over all files of the set; the image's sum is known from its dump."""
    lines = [f"{image_sha256}  {image}"]
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in (image, SUMS):
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
        if data.get("schema") != SCHEMA:
            raise Refused(
                f"cannot read image set '{folder.name}': its schema is {data.get('schema')}, not {SCHEMA}",
                hint=f"use the lvpack that made it ({data.get('lvpack')}); this is {VERSION}",
            )
        manifest = from_json(Manifest, data)
    except ValueError as error:
        raise _damaged(folder, f"{MANIFEST} is damaged: {error}") from error
    sums = _read_sums(folder)
    if sums.get(manifest.image) != manifest.checksums.stored_sha256:
        raise _damaged(folder, f"{SUMS} and {MANIFEST} disagree about {manifest.image}")
    for name, expected in sums.items():
        if name == manifest.image:
            continue
        try:
            found = _sha256(folder / name)
        except Failed as failed:
            raise _damaged(folder, failed.message) from failed
        if found != expected:
            raise _damaged(folder, f"{name} has changed since it was written")
    return manifest


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


def check_image(
    folder: Path,
    manifest: Manifest,
    say: Callable[[str], None],
    put: Callable[[int, Piece], object] = lambda at, piece: None,
) -> None:
    """Read an image to its end, decompressed into put (see frames.read). Raises Failed: what is wrong with it."""
    promised = manifest.checksums
    path = folder / manifest.image
    progress = Progress(f"read {manifest.image}", promised.stored_size, say)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _damaged(folder, f"{manifest.image} cannot be read: {_cause(error)}") from error
    if size != promised.stored_size:
        raise _damaged(folder, f"{manifest.image} has {size:,} bytes, not {promised.stored_size:,}")
    try:
        with progress.ticking():
            found = frames.read(path, put, progress.add)
    except (ToolFailed, Damaged) as failed:
        raise _damaged(folder, f"{manifest.image} is damaged: {failed.message}") from failed
    say(progress.line())
    if found != promised:
        cause = "its bytes have another checksum" if found.raw_size == promised.raw_size else "its length is another"
        raise _damaged(folder, f"{manifest.image} is damaged: {cause}")


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
    image, disk = manifest.image, manifest.packed.disks[0]
    opener = {"zstd": f"zstd -dc {image}", "gzip": f"gzip -dc {image}", "none": f"cat {image}"}
    size = f"{disk.size:,} bytes ({human(disk.size)})"
    gpt = (
        "   sfdisk --relocate gpt-bak-std /dev/sdX   # the disk is bigger: put its backup GPT at its end\n"
        if disk.table and disk.table.label == "gpt"
        else ""
    )
    return (
        f"{manifest.name}: a disk packed by lvpack {manifest.lvpack} on {manifest.created}\n\n"
        f"The target needs at least {size}, sectors of {disk.sector_size} bytes,\n"
        "and everything on it will be lost. Boot any Linux on it, then:\n\n"
        "   sha256sum -c SHA256SUMS\n"
        f"   {opener[manifest.compression.method]} | dd of=/dev/sdX bs=4M conv=fsync\n"
        f"{gpt}\n"
        f"bmaptool writes only what holds data:\n\n   bmaptool copy --bmap {BMAP} {image} /dev/sdX\n\n"
        f"{_boot_text(manifest.boot)}"
        "With lvpack: boot its image with lvpack.action=restore lvpack.source=URL-OF-THIS-FOLDER\n\n"
        f"{_left_out(manifest)}"
        "The swap areas are small now, and the filesystems have little free space. To grow them by hand: enlarge the\n"
        "PV's partition, pvresize, lvextend --resizefs, mkswap with the same UUID. layout/ has what the source was.\n"
    )


def _boot_text(loaders: tuple[Loader, ...]) -> str:
    if not loaders:
        return ""
    commands = [f"   {shlex.join(efi.creating('/dev/sdX', loader))}\n" for loader in reversed(loaders)]
    return (
        "The source booted by UEFI. If the machine has no boot entry for the disk, boot that Linux by UEFI, too, and\n"
        f"make it:\n\n{''.join(commands)}\n"
        "Or do without one: copy that file, on its partition, to EFI/BOOT/BOOTX64.EFI, and the other .efi files\n"
        "beside it to EFI/BOOT, but those that begin with fb.\n\n"
    )
