"""Image sets of small disks, and their manifests."""

import hashlib
from pathlib import Path

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.image import check, files, write
from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.manifest import SCHEMA, SCHEMA_SEVERAL, Image, Manifest, write_manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.plan.values import Plan
from lvpack_agent.progress import Progress
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.share import Share
from lvpack_agent.sizes import MIB
from tests.agent.builders.shares import folder_share

SET = "one"
SIZE = 4096


def write_set(folder: Path) -> None:
    """Write an image set of one small disk that holds zeros."""
    folder.mkdir()
    (folder / "disk.img").write_bytes(bytes(SIZE))
    made = manifest()
    write_manifest(folder, made)
    write.write_sums(folder, made.images)


def write_set_to(share: Share) -> None:
    """Write an image set of one small disk to a share, as a dump does, and check it."""
    with write.Writer(share) as writer:
        folder = writer.begin(SET)
        with share.created(folder / "disk.img") as sink:
            sink(bytes(SIZE))
        made = manifest()
        (folder / "layout").mkdir()
        files.write_text(folder, "layout/plan.txt", "plan\n")
        write_manifest(folder, made)
        write.write_sums(folder, made.images)
        share.publish(folder, files.MANIFEST)
        assert check.read_manifest(folder, source=share.source) == made
        check.check_set(folder, silent, share.source)


def write_image(
    device: Path,
    path: Path,
    compression: Compression,
    ranges: tuple[Range, ...],
    size: int,
    progress: Progress,
    pace: Pace,
) -> Checksums:
    """Write an image as a dump does, to a file on a share that is a folder."""
    with folder_share(path.parent).created(path) as sink, progress.ticking():
        return write.write_image(device, sink, compression, ranges, size, progress, pace)


def manifest() -> Manifest:
    """Return the manifest of that set."""
    sums = Checksums(stored_size=SIZE, stored_sha256=hashlib.sha256(bytes(SIZE)).hexdigest(), raw_size=SIZE)
    disk = Disk(path="/dev/sda", size=SIZE, sector_size=512, table=None)
    return manifest_of((disk,), (Image(image="disk.img", block_map=(), checksums=sums),))


def manifest_of(disks: tuple[Disk, ...], images: tuple[Image, ...], method: str = "none") -> Manifest:
    """Return the manifest of a set of disks that are packed as they are, each into an image."""
    layout = Layout(disks=disks, vgs=())
    first, *further = images
    return Manifest(
        schema=SCHEMA_SEVERAL if further else SCHEMA,
        lvpack="0",
        name=SET,
        created="",
        machine={},
        plan=Plan(source=layout, target=layout, rows=(), moves=(), store=0),
        packed=layout,
        image=first.image,
        compression=Compression(method=method, level=0),
        block_map=first.block_map,
        checksums=first.checksums,
        further=tuple(further),
    )


def empty_image(size: int, name: str) -> Image:
    """Return an image of which nothing is stored, for what never reads it."""
    return Image(image=name, block_map=(), checksums=Checksums(stored_size=0, stored_sha256="", raw_size=size))


def silent(_: str) -> None:
    """Say nothing."""


# Of the two disks of a set.
SIZES = (5 * MIB, 7 * MIB)


def two_disks() -> Manifest:
    """Return the manifest of a set of two disks."""
    disks = tuple(
        Disk(path=f"/dev/vd{n}", size=size, sector_size=512, table=None, model=f"model{n}")
        for n, size in enumerate(SIZES)
    )
    return manifest_of(disks, tuple(empty_image(size, f"disk{n or ''}.img") for n, size in enumerate(SIZES)))


def disk(folder: Path, name: str, size: int, sector_size: int = 512) -> BlockDevice:
    """Return a disk that is a file of zeros; its serial number is its name."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return BlockDevice(
        path=str(path),
        type="disk",
        size=size,
        sector_size=sector_size,
        read_only=False,
        model="",
        serial=name,
        wwn="",
        fstype="",
        label="",
        uuid="",
    )
