"""How long planning takes beside the tools that it calls, on a machine of many disks and LVs.

In qemu-tests/: ../.venv/bin/python -m tools.probetime [--disks 8] [--lvs 200]
"""

import json
import shutil
import tempfile
from pathlib import Path

import click

from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.qemu import Drive, create_disk, node
from lvpack_builder.paths import cache_dir, output_dir

GUEST = Path(__file__).parents[1] / "guest/probe_many.py"
DEADLINE = 3600.0


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--disks", default=8, show_default=True)
@click.option("--lvs", default=200, show_default=True)
def main(disks: int, lvs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="probetime-", dir=cache_dir()) as folder:
        host = Path(folder)
        shutil.copy(GUEST, host)
        drives = [Drive(path=create_disk(host / f"{number}.img", 1 << 30)) for number in range(disks)]
        names = " ".join(node(number) for number in range(disks))
        command = f"PYTHONDONTWRITEBYTECODE=1 python3 /host/{GUEST.name} {lvs} {names}"
        log = cache_dir() / "probetime.log"
        # One processor: one tool runs at a time, so that their times add up.
        answer = helper.in_live_image(LiveImage(folder=output_dir()), drives, host, command, log, DEADLINE)
    [line] = [line for line in answer.output.splitlines() if line.startswith('{"lvs"')]
    found = json.loads(line)
    click.echo(
        f"{found['disks']} disks, {found['lvs']} LVs: {found['seconds']:.1f} s, {found['programs']:.1f} s of it in "
        f"programs: {found['seconds'] / found['programs']:.2f} x"
    )
    click.echo(", ".join(f"{name} {count}" for name, count in sorted(found["calls"].items())))


if __name__ == "__main__":
    main()
