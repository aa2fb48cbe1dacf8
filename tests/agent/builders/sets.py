"""An image set of one small disk that holds zeros."""

import hashlib
from pathlib import Path

from lvpack_agent.image import manifest as imageset
from lvpack_agent.image import write
from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.plan.values import Plan
from lvpack_agent.settings.values import Compression

SET = "one"
SIZE = 4096


def write_set(folder: Path) -> None:
    """Write an image set of one small disk that holds zeros."""
    folder.mkdir()
    (folder / "disk.img").write_bytes(bytes(SIZE))
    made = manifest()
    imageset.write_manifest(folder, made)
    write.write_sums(folder, made.images)


def manifest() -> Manifest:
    layout = Layout(disks=(Disk(path="/dev/sda", size=SIZE, sector_size=512, table=None),), vgs=())
    sums = Checksums(stored_size=SIZE, stored_sha256=hashlib.sha256(bytes(SIZE)).hexdigest(), raw_size=SIZE)
    return Manifest(
        schema=imageset.SCHEMA,
        lvpack="0",
        name=SET,
        created="",
        machine={},
        plan=Plan(source=layout, target=layout, rows=(), moves=(), store=0),
        packed=layout,
        image="disk.img",
        compression=Compression(method="none", level=0),
        block_map=(),
        checksums=sums,
    )
