"""In the live image: probe a disk as a plan does, and print its layout as JSON, with free blocks.

python3 record_layout.py DISK, for tests/data/blog/layout.json. The disk's filesystems must be clean.
"""

import json
import sys

from lvpack_agent.devices import lsblk
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.disks import Disk
from lvpack_agent.probe.discover import find
from lvpack_agent.probe.open import opened


def main(path: str) -> None:
    found = find(lsblk.select(lsblk.read(), (path,)), "auto", collapse=True, named=True)
    like = Disk(path=path, size=found.disk.size, sector_size=found.disk.sector_size, table=None)
    with opened([(path, like)], "record") as source:
        form = to_json(source.layout)
        for vg, rows in zip(source.layout.vgs, form["vgs"], strict=True):
            for lv, row in zip(vg.lvs, rows["lvs"], strict=True):
                row["content"]["free"] = to_json(lv.content.free)
    print(json.dumps(form, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
