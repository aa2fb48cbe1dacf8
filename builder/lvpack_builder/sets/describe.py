"""An image set in words: a summary, and the plan that it was packed by."""

from collections.abc import Iterator, Sequence

from lvpack_agent.errors import Refused, understood
from lvpack_agent.image import losses
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.layout.disks import Disk
from lvpack_agent.plan.grow import grown
from lvpack_agent.plan.text import as_text, restore_text
from lvpack_agent.printable import printable
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.table import PREFIX
from lvpack_agent.sizes import human


def describe(manifest: Manifest) -> str:
    """Return a summary of a set for people; what does not print in it is escaped."""
    before = {old.uuid: old.extents for old, _ in manifest.plan.lvs()}
    machine = " ".join(manifest.machine.get(key, "") for key in ("sys_vendor", "product_name")).strip()
    lines = [
        f"image set  {manifest.name}, made {manifest.created} by lvpack {manifest.lvpack}",
        f"machine    {machine or 'unknown'}",
        *(
            f"source     {disk.model or disk.path}, {human(disk.size)}, sectors of {disk.sector_size} bytes"
            for disk in manifest.plan.source.disks
        ),
        *(line for image in manifest.images for line in _image_lines(image, manifest)),
    ]
    for vg in manifest.packed.vgs:
        lines.append(f"VG         {vg.name}, {vg.uuid}, extents of {human(vg.extent_size)}")
        for lv in vg.lvs:
            size, was = (human(extents * vg.extent_size) for extents in (lv.extents, before[lv.uuid]))
            lines.append(f"  LV       {lv.name}: {lv.content.type or 'unknown'}, {size}, was {was}")
    lines += [f"boot       by UEFI: '{loader.title}', {loader}" for loader in manifest.boot]
    missing = losses.summary(manifest.unreadable)
    lines += [f"warning    {text}" for text in dict.fromkeys([*filter(None, [missing]), *manifest.warnings])]
    return "\n".join(map(printable, lines))


def _image_lines(image: Image, manifest: Manifest) -> Iterator[str]:
    size, data = image.checksums.raw_size, sum(part.count for part in image.block_map)
    yield f"packed     {human(size)} ({size:,} bytes), {human(data)} of it data"
    yield f"stored     {human(image.checksums.stored_size)} in {image.image} ({manifest.compression})"


def restore_plan(
    manifest: Manifest, sizes: Sequence[int], words: Sequence[str], memory: int | None
) -> tuple[str, tuple[str, ...]]:
    """Return the plan of a restore to disks of such sizes in bytes, and its warnings.

    words are those of the kernel command line, of which lvpack.grow counts; memory is that of the machine in bytes.
    Raises Refused if the disks are too small or too few, or if there is no room for a rule.
    """
    packed = manifest.packed.disks
    if len(sizes) != len(packed):
        raise Refused(
            f"cannot plan a restore: the set has {len(packed)} disk{'s' if len(packed) > 1 else ''}, and "
            f"{len(sizes)} sizes are given",
            hint="give --target-size for each disk of the set, in its order",
        )
    for disk, size in zip(packed, sizes, strict=True):
        if size < disk.size:
            raise Refused(
                f"cannot plan a restore to {size:,} bytes: the image needs {disk.size:,}",
                hint=f"give at least {human(disk.size)}",
            )
    targets = [
        Disk(
            path=f"target {number}" if len(sizes) > 1 else "target", size=size, sector_size=disk.sector_size, table=None
        )
        for number, (disk, size) in enumerate(zip(packed, sizes, strict=True))
    ]
    settings = parse([*words, f"{PREFIX}action=plan"])
    assert settings
    with understood("the layouts in the image set"):
        growth = grown(manifest.plan, manifest.packed, targets, settings.grow, memory, manifest.mounts)
    return restore_text(growth, manifest.name), growth.warnings


def plan_text(manifest: Manifest) -> str:
    """Return the plan that the set was packed by."""
    return as_text(manifest.plan)
