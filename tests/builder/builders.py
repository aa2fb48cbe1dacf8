"""What tests of the builder build: the sample server's layout as it was recorded, a small image set."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvpack_agent.backup import failed_log
from lvpack_agent.image import write
from lvpack_agent.image.manifest import SCHEMA, Manifest, write_manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.jsonform import from_json
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume
from lvpack_agent.plan.make import make_plan
from lvpack_agent.progress import Progress
from lvpack_agent.report import Report, Sizes
from lvpack_agent.settings.values import Compression, Margin
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import manifest, write_image

# What an image in this set holds; the rest of it is zeros.
DATA = Range(start=MIB, count=MIB)
SIZE = 4 * MIB


def recorded(blog: Path) -> Layout:
    """Return the layout of the sample server, with the free blocks that a layout's own JSON form leaves out."""
    form = json.loads((blog / "layout.json").read_text())
    layout = from_json(Layout, form)
    [vg], [rows] = layout.vgs, form["vgs"]
    lvs = tuple(_with_free(lv, row) for lv, row in zip(vg.lvs, rows["lvs"], strict=True))
    return replace(layout, vgs=(replace(vg, lvs=lvs),))


def _with_free(lv: LogicalVolume, row: dict[str, Any]) -> LogicalVolume:
    free = tuple(from_json(Range, each) for each in row["content"]["free"])
    return replace(lv, content=replace(lv.content, free=free))


def write_set(folder: Path, blog: Path) -> Manifest:
    """Write an image set of the sample server into a new folder, its packed disk cut to SIZE; needs libzstd only."""
    folder.mkdir()
    device = folder.with_name("device")
    device.write_bytes(random.Random(1).randbytes(SIZE))
    how, progress = Compression(method="zstd", level=1), Progress("dump", SIZE, lambda _: None)
    sums = write_image(device, folder / "disk.img.zst", how, (DATA,), SIZE, progress, Pace(workers=1, fixed=1))
    plan = make_plan(recorded(blog), Margin(percent=5))
    disks = tuple(replace(disk, size=SIZE) for disk in plan.target.disks)
    plan = replace(plan, target=replace(plan.target, disks=disks))
    made = Manifest(
        schema=SCHEMA,
        lvpack="0",
        name=folder.name,
        created="today",
        machine={"sys_vendor": "Acme", "product_name": "Anvil"},
        plan=plan,
        packed=plan.target,
        image="disk.img.zst",
        compression=how,
        block_map=(DATA,),
        checksums=sums,
        sizes=Sizes(packed_disk=SIZE, image=sums.stored_size, mapped=DATA.count),
    )
    write_manifest(folder, made)
    write.write_sums(folder, made.images)
    return made


# When a set of put_set() was made.
MADE = "2020-01-12T08:00:00Z"


def put_set(share: Path, name: str, **changes: Any) -> Manifest:
    """Put a set of a small disk on a share, its manifest changed; it has no more than a list of sets looks at."""
    (share / name).mkdir()
    (share / name / "disk.img").write_bytes(bytes(manifest().stored_size))
    made = replace(manifest(), **{"name": name, "created": MADE, **changes})
    write_manifest(share / name, made)
    return made


def put_log(share: Path, name: str, when: str = "2020-01-14T08:00:00Z", result: str = "") -> None:
    """Put the log of a run that failed on a share; result is its last line."""
    line = result or Report(status="failed", action="backup", message="cannot shrink LV 'root': no").line()
    text = f"{failed_log.FIRST}\nlvpack 0, {when}\n\nfailed: cannot shrink\n{line}\n"
    (share / f"{name}{failed_log.SUFFIX}").write_text(text)
