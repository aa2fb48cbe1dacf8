"""What a backup and a restore cost with one live image and with another: processor time, in turn.

In qemu-tests/: ../.venv/bin/python -m tools.runtime OLD NEW [--sample server] [--rounds 9]

OLD and NEW are folders that `lvpack build` made. Each run has a guest of its own, booted to its shell; what counts is
the processor time that QEMU takes from the start of the agent to its end.
"""

import shlex
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from lvpack_agent.errors import Failed
from lvpack_agent.image import check
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import running
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, PSEUDO, nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import drives_of, make_disks
from lvpack_builder.paths import cache_dir

DEADLINE = 1800.0
NAME = "timed"


def cost(image: LiveImage, drives: Sequence[Drive], share: Path, words: Sequence[str]) -> float:
    """Run the agent once in a guest of its own; return the seconds of processor time that QEMU took for it."""
    with nfs_share(share) as server:
        line = " ".join(words).replace("SHARE", f"nfs://{HOST_FROM_GUEST}:{server.port}{PSEUDO}")
        machine = live(image, [helper.SHELL], drives=tuple(drives))
        with running(machine, accelerator(image), cache_dir() / "runtime.log") as console:
            helper.shell_ready(console)
            before = console.cpu_seconds()
            answer = console.shell(f"python3 -m lvpack_agent --cmdline {shlex.quote(line)}", DEADLINE)
            if answer.status or '"status": "ok"' not in answer.output:
                raise Failed(f"cannot take the time of a run that failed: {answer.output.strip()[-500:]}")
            return console.cpu_seconds() - before


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@click.option("--sample", default="server", show_default=True)
@click.option("--rounds", default=9, show_default=True, help="Backups and restores with each image.")
def main(old: Path, new: Path, sample: str, rounds: int) -> None:
    images = {"old": LiveImage(folder=old.resolve()), "new": LiveImage(folder=new.resolve())}
    drives = drives_of(sample, make_disks(images["new"], sample))
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, image in images.items():
            with tempfile.TemporaryDirectory(prefix="runtime-", dir=cache_dir()) as scratch:
                share = Path(scratch) / "share"
                share.mkdir()
                words = ("lvpack.action=backup", f"lvpack.name={NAME}", "lvpack.target=SHARE")
                backup = cost(image, drives, share, words)
                size = check.read_manifest(share / NAME).images[0].checksums.raw_size
                target = Drive(path=create_disk(Path(scratch) / "target.img", size))
                # As large as the packed disk: nothing grows, with any image.
                words = ("lvpack.action=restore", f"lvpack.source=SHARE/{NAME}", "lvpack.disk=/dev/vda")
                restore = cost(image, [target], share, words)
            found.setdefault(("backup", name), []).append(backup)
            found.setdefault(("restore", name), []).append(restore)
            click.echo(f"{number + 1} {name}: backup {backup:6.1f} s, restore {restore:6.1f} s of processor time")
    for job in ("backup", "restore"):
        medians = [statistics.median(found[job, name]) for name in images]
        click.echo(f"{job}: median {medians[0]:.1f} s -> {medians[1]:.1f} s, {medians[1] / medians[0]:.3f} x")


if __name__ == "__main__":
    main()
