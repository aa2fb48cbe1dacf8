"""How long the live image takes to the agent's first line, and how long Debian's own way does: systemd, nothing pruned.

In qemu-tests/: ../.venv/bin/python -m tools.boottime [--runs 5]

Both boot the same kernel, the same first stage and the same agent. The other image has the whole tree that
diskimage-builder made, systemd as its init with the default target, and a unit that starts the agent after udev has
settled. Its base is compressed by zstd, which is read faster than the xz of the live image. Runs take turns. CPU time
is that of QEMU, from its start; on a busy host it tells more than the wall clock.
"""

import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from lvpack_agent import VERSION
from lvpack_agent.processes import run
from lvpack_builder import reproducible
from lvpack_builder.image import initrd, rootfs
from lvpack_builder.image.base import Base, base
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab.console import running
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.paths import cache_dir, output_dir

DEADLINE = 600.0
UNIT = """[Unit]
Wants=systemd-udev-settle.service
After=systemd-udev-settle.service

[Service]
RuntimeDirectory=lvpack
ExecStart=/usr/lib/lvpack/start-agent

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Seconds from QEMU's start to the agent's first line."""

    wall: float
    cpu: float


def systemd_layer(scratch: Path, out: Path) -> None:
    """Pack what makes systemd the init of the whole tree and the agent one of its services."""
    tree = scratch / "systemd"
    units = tree / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "lvpack.service").write_text(UNIT)
    (units / "multi-user.target.wants/lvpack.service").symlink_to("../lvpack.service")
    # With an identity of its own the machine is not at its first boot, which would take longer.
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "usr/lib/lvpack").mkdir(parents=True)
    (tree / "usr/lib/lvpack/init").symlink_to("/usr/lib/systemd/systemd")
    rootfs.squash(tree, out, rootfs.QUICK)


def unpruned(built: Base, image: LiveImage, scratch: Path) -> LiveImage:
    """Make the other image: the same kernel, and an initrd with the whole tree, the agent and systemd as its init."""
    other = LiveImage(folder=scratch / "unpruned")
    other.kernel.parent.mkdir(parents=True)
    shutil.copy(image.kernel, other.kernel)
    layers = [scratch / name for name in ("00-base.squashfs", "10-agent.squashfs", "20-systemd.squashfs")]
    # A copy: all its dates change.
    run(["cp", "-a", "--reflink=auto", built.whole, scratch / "whole"])
    with reproducible.dated(built.epoch):
        rootfs.squash(scratch / "whole", layers[0], rootfs.QUICK)
        rootfs.agent_layer(built.tree, layers[1])
        systemd_layer(scratch, layers[2])
        initrd.assemble(built.early, layers, other.initrd)
    return other


def boot(image: LiveImage, disk: Path, transcript: Path) -> Boot:
    """Boot once, to the agent's first line."""
    begun = time.monotonic()
    machine = live(image, ["lvpack.action=shell"], drives=(Drive(path=disk, temporary=True),))
    with running(machine, accelerator(image), transcript) as console:
        console.expect(f"lvpack {VERSION}", DEADLINE)
        return Boot(wall=time.monotonic() - begun, cpu=console.cpu_seconds())


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--runs", default=5, show_default=True, help="Boots of each image.")
def main(runs: int) -> None:
    image = LiveImage(folder=output_dir())
    with tempfile.TemporaryDirectory(prefix="boottime-", dir=cache_dir()) as folder:
        scratch = Path(folder)
        disk = create_disk(scratch / "disk.img", 1 << 30)
        images = {"live image": image, "systemd, unpruned": unpruned(base(), image, scratch)}
        boots: dict[str, list[Boot]] = {name: [] for name in images}
        for number in range(runs):
            for name, one in images.items():
                boots[name].append(boot(one, disk, cache_dir() / "boottime.log"))
                click.echo(f"{number + 1} {name:20} {boots[name][-1].wall:6.1f} s, CPU {boots[name][-1].cpu:6.1f} s")
    for what in ("wall", "cpu"):
        ours, theirs = (statistics.median(getattr(b, what) for b in boots[name]) for name in images)
        click.echo(f"{what}: median {ours:.1f} s against {theirs:.1f} s, {ours / theirs:.2f} x")


if __name__ == "__main__":
    main()
