"""Where a server mounts its LVs: /etc/fstab (fstab(5)), read for the names that rules of lvpack.grow may have."""

import re
from collections.abc import Iterator

from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup

# fstab(5): blanks in names are written so.
_OCTAL = re.compile(r"\\([0-3][0-7]{2})")
MOST = 1000


def mounts(text: str, layout: Layout) -> dict[str, str]:
    """Return the mount points of a text of /etc/fstab that are LVs of a layout, and the UUIDs of those LVs.

    A line about anything else, or that is not understood, is passed over; so is one of a mount point that stands twice.
    """
    named: dict[str, list[str]] = {}
    for vg in layout.vgs:
        for lv in vg.lvs:
            for name in _names(vg, lv):
                named.setdefault(name, []).append(lv.uuid)
    found: dict[str, set[str]] = {}
    for line in text.splitlines()[:MOST]:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        what, where = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), word) for word in words[:2])
        lvs = named.get(what.replace('"', ""), [])
        if where.startswith("/") and len(lvs) == 1:
            found.setdefault(where.rstrip("/") or "/", set()).add(lvs[0])
    return {where: uuids.pop() for where, uuids in found.items() if len(uuids) == 1}


def _names(vg: VolumeGroup, lv: LogicalVolume) -> Iterator[str]:
    """Yield how the first field of a line may name an LV."""
    yield f"/dev/{vg.name}/{lv.name}"
    # lvm(8): in names of mappings a hyphen is doubled.
    mapped = "-".join(name.replace("-", "--") for name in (vg.name, lv.name))
    yield f"/dev/mapper/{mapped}"
    if lv.content.uuid:
        yield f"UUID={lv.content.uuid}"
        yield f"/dev/disk/by-uuid/{lv.content.uuid}"
    if lv.content.label:
        yield f"LABEL={lv.content.label}"
        yield f"/dev/disk/by-label/{lv.content.label}"
