"""manifest.json: what an image set says of itself."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.files import MANIFEST, MANIFEST_MOST, SUFFIXES, write_text
from lvpack_agent.image.losses import Loss
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.plan.values import Plan
from lvpack_agent.report import Sizes, Timings
from lvpack_agent.settings.values import Compression

# Sets of several disks have a schema of their own: an older lvpack must not take one for a set of one disk.
SCHEMA, SCHEMA_SEVERAL = 1, 2


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
    boot has the loaders that boot entries of the source's firmware started from one disk (boot_disk, an index into
    packed.disks), in the order of the entries; there are none if the source booted by BIOS. sizes and timings are those
    of the report, as far as they were known when the manifest was written. run is a random word for the run that made
    the set, in place over all its boots; "" in sets of older versions. unreadable: what of the source could not be
    read, and is zeros (lvpack.errors=skip). mounts: the mount points of LVs by the server's /etc/fstab, and the UUIDs
    of these; empty in sets of older versions.
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
    sizes: Sizes = Sizes()  # noqa: RUF009 (frozen)
    timings: Timings = Timings()  # noqa: RUF009 (frozen)
    warnings: tuple[str, ...] = ()
    further: tuple[Image, ...] = ()
    run: str = ""
    unreadable: tuple[Loss, ...] = ()
    mounts: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of all packed disks."""
        return (Image(image=self.image, block_map=self.block_map, checksums=self.checksums), *self.further)

    def contradiction(self) -> str:
        """Return what plan, packed layout and compression say against one another, "" if nothing."""
        if self.compression.method not in SUFFIXES:
            return f"there is no compression '{self.compression.method}'"
        planned, packed = ([lv.uuid for vg in one.vgs for lv in vg.lvs] for one in (self.plan.target, self.packed))
        other = "" if planned == packed else "it has other LVs than its plan"
        return self.plan.contradiction() or other or self.packed.contradiction()

    @property
    def packed_size(self) -> int:
        """The bytes of all packed disks."""
        return sum(image.checksums.raw_size for image in self.images)

    @property
    def stored_size(self) -> int:
        """The bytes of all images as they are stored."""
        return sum(image.checksums.stored_size for image in self.images)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json to the folder of a set, and sync it."""
    form = to_json(manifest)
    if not manifest.further:
        del form["further"], form["boot_disk"]  # a set of one disk looks as it always did
    if not manifest.unreadable:
        del form["unreadable"]
    write_text(folder, MANIFEST, json.dumps(form, indent=1) + "\n", MANIFEST_MOST)
