"""Inventories of a disk's filesystems, taken by the live image, and their comparison.

No unit test: the inventories that end-to-end tests compare come from real disks.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvpack_agent.errors import Failed
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.guest import take_inventory
from lvpack_builder.lab.qemu import Drive
from lvpack_builder.paths import cache_dir

TAKE_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What guest/take_inventory.py found: files by filesystem, blkid's facts, LVM's rows, minimum sizes in bytes.

    whole: the SHA-256 of partitions and LVs that are no ext, XFS or FAT filesystem, swap area or PV.
    """

    table: dict[str, Any]
    pvs: list[dict[str, Any]]
    lvs: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    filesystems: dict[str, dict[str, str]]
    files: dict[str, list[dict[str, Any]]]
    minimum: dict[str, int]
    whole: dict[str, str]

    def identities(self) -> dict[str, object]:
        """Return every UUID, label and tag: of the VG, PVs, LVs, filesystems and swap areas."""
        found: dict[str, object] = {f"VG {pv['vg_name']}": (pv["vg_uuid"], pv["vg_tags"]) for pv in self.pvs}
        found |= {f"PV {number}": pv["pv_uuid"] for number, pv in enumerate(self.pvs)}
        found |= {f"LV {lv['lv_name']}": (lv["lv_uuid"], lv["lv_tags"]) for lv in self.lvs}
        for name, facts in self.filesystems.items():
            found |= {f"{name} {key}": facts.get(key) for key in ("TYPE", "UUID", "LABEL")}
        return found


def take(image: LiveImage, *drives: Drive) -> Inventory:
    """Boot the live image with disks, which stay unchanged, and return the inventory of the first and of all VGs."""
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        folder = Path(scratch)
        shutil.copy(take_inventory.__file__, folder / "take_inventory.py")
        copies = [replace(drive, temporary=True) for drive in drives]
        command = "python3 /host/take_inventory.py /dev/vda /host/inventory.json"
        log = cache_dir() / "inventory.log"
        answer = helper.in_live_image(image, copies, folder, command, log, TAKE_SECONDS)
        if answer.status:
            raise Failed(f"cannot take an inventory of '{drives[0].path}': {answer.output.strip()[-300:]}")
        return Inventory(**json.loads((folder / "inventory.json").read_text()))


def differing_files(before: Inventory, after: Inventory) -> list[str]:
    """Return a line for each file that is missing, new or changed, and for each device that was to stay whole."""
    lines = [
        f"{name} has changed"
        for name in sorted({*before.whole, *after.whole})
        if before.whole.get(name) != after.whole.get(name)
    ]
    for name in sorted({*before.files, *after.files}):
        old = {entry["path"]: entry for entry in before.files.get(name, ())}
        new = {entry["path"]: entry for entry in after.files.get(name, ())}
        for path in sorted({*old, *new}):
            if old.get(path) != new.get(path):
                lines.append(f"{name}: {path}: {old.get(path)} became {new.get(path)}")
    return lines
