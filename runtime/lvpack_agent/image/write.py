"""Writing an image set, so that a folder called NAME is always a complete one."""

from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import frames, pieces
from lvpack_agent.image.checksums import Checksums, sha256_of
from lvpack_agent.image.files import FOLDER_MODES, PARTIAL, SUMS, SUMS_MOST, write_text
from lvpack_agent.image.manifest import Image
from lvpack_agent.image.pacing import Pace
from lvpack_agent.image.salvage import Salvage
from lvpack_agent.layout.ranges import Range
from lvpack_agent.progress import Progress
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.stored import Sink


class Writer:
    """Writes a set as NAME.partial; at the end that is renamed to NAME if all went well, and removed if not.

    Enter it before the backup sets anything up: then the set gets its name only after all that was taken down in order.
    """

    def __init__(self, share: Share, readers: str = "owner") -> None:
        """Write to a share; readers is lvpack.readers, owner or group."""
        self._share, self._mode = share, FOLDER_MODES[readers]
        self._name = ""

    def begin(self, name: str, *, leftover: bool = False) -> Path:
        """Make the folder and return it. Raises Refused if NAME or NAME.partial exists, Failed if it cannot be made.

        leftover: a NAME.partial that exists was left by an earlier boot of this very run, and is removed.
        """
        partial = name + PARTIAL
        refuse_taken(self._share, name)
        if leftover:
            self._share.discard(partial)
        try:
            folder = self._share.begin(partial, self._mode)
        except FileExistsError:
            raise Refused(
                f"cannot write image set '{name}': '{partial}' exists on the share",
                hint="another backup is writing it, or was cut off; if none is running, remove that folder",
            ) from None
        except OSError as error:
            raise Failed(
                f"cannot write to the share: {error.strerror}",
                hint="check that the server lets root of this machine write there",
            ) from error
        self._name = name
        return folder

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not self._name:
            return
        partial = self._name + PARTIAL
        try:
            if error is None:
                self._share.commit(partial, self._name)
                return
        except OSError as late:
            error = late
        self._share.discard(partial)
        if isinstance(error, OSError):
            raise Failed(
                f"cannot write image set '{partial}' to the share: {error.strerror}",
                hint="check the space on the share and the network, and try again",
            ) from error


def refuse_taken(share: Share, name: str) -> None:
    """Raise Refused if there is an image set, or anything, of that name on the share."""
    if share.taken(name):
        raise Refused(
            f"cannot write image set '{name}': it exists on the share",
            hint="choose another lvpack.name, or remove the old set",
        )


def write_image(
    device: Path,
    sink: Sink,
    compression: Compression,
    ranges: tuple[Range, ...],
    size: int,
    progress: Progress,
    pace: Pace,
    salvage: Salvage | None = None,
) -> Checksums:
    """Write the image of a device of size bytes into sink; bytes in none of the ranges become zeros.

    salvage fills what the device does not read, if it is given. Raises Unreadable.
    """
    source = pieces.pieces(device, ranges, size, pieces.longest_hole(compression), pace.read, salvage)
    checksums = frames.write(source, compression, sink, progress.add, pace)
    if checksums.raw_size != size:
        raise Failed(f"cannot dump '{device}': {checksums.raw_size:,} bytes read, {size:,} promised")
    return checksums


def write_sums(folder: Path, images: tuple[Image, ...]) -> None:
    """Write SHA256SUMS over all files of the set; the images' sums are known from their dumps."""
    known = {image.image: image.checksums.stored_sha256 for image in images}
    lines = [f"{sha256}  {name}" for name, sha256 in known.items()]
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if name not in (*known, SUMS):
            lines.append(f"{sha256_of(path, top=folder)}  {name}")
    write_text(folder, SUMS, "\n".join(lines) + "\n", SUMS_MOST)
