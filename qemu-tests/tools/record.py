"""Record what the tools say about layouts that LVM can make, for the unit tests: tests/data/layouts.

In qemu-tests/: ../.venv/bin/python -m tools.record [NAME …]

Builds the live image and runs guest/record_layouts.py in it, which has the table of layouts and the commands that make
each. A recording replaces the one of the same name; the UUIDs in it are new ones. Needs cryptsetup and mdadm (bindep).
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from lab.signatures import luks_image, mdadm
from lvpack_agent.errors import Failed
from lvpack_agent.sizes import GIB
from lvpack_builder.image.build import LiveImage, build
from lvpack_builder.lab import helper
from lvpack_builder.lab.qemu import Drive, create_disk
from lvpack_builder.paths import cache_dir, output_dir

SCRIPT = Path(__file__).parents[1] / "guest/record_layouts.py"
DATA = Path(__file__).parents[2] / "tests/data/layouts"
DISKS = {"vda": 8 * GIB, "vdb": GIB, "vdc": GIB, "vdd": GIB}
SECONDS = 2400.0


def record(image: LiveImage, names: list[str]) -> None:
    """Make recordings of the named layouts, or of all. Raises Failed if one cannot be made; the others are kept."""
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        folder = Path(scratch)
        shutil.copy(SCRIPT, folder)
        shutil.copy(mdadm(), folder)
        luks_image(folder / "luks.img")
        drives = [
            Drive(path=create_disk(folder / name, size), sector_size=4096 if name == "vdd" else 512)
            for name, size in DISKS.items()
        ]
        command = f"python3 /host/{SCRIPT.name} /host/out {' '.join(names)}"
        log = cache_dir() / "record.log"
        answer = helper.in_live_image(image, drives, folder, command, log, SECONDS)
        for made in (folder / "out").iterdir():
            if (made / "README").exists():
                shutil.rmtree(DATA / made.name, ignore_errors=True)
                shutil.copytree(made, DATA / made.name)
        if answer.status:
            raise Failed(f"cannot record every layout: {answer.output.strip()[-800:]}", hint=f"see {log}")
        print("\n".join(json.loads((folder / "out/versions.json").read_text())))


if __name__ == "__main__":
    record(build(output_dir()), sys.argv[1:])
