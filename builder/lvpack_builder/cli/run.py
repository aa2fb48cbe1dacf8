"""`lvpack run`."""

from pathlib import Path

import click

from lvpack_agent.errors import Refused
from lvpack_builder.cli.shared import FILE, KERNEL_OPTIONS, reported
from lvpack_builder.image.build import built_image
from lvpack_builder.image.secrets import secret_file
from lvpack_builder.lab import runs
from lvpack_builder.lab.runs import Computer, SharedFolder
from lvpack_builder.paths import output_dir


@click.command(epilog=KERNEL_OPTIONS)
@click.option("--disk", "disks", type=FILE, multiple=True, required=True, metavar="FILE", help="Disk image.")
@click.option(
    "--share",
    type=FILE,
    metavar="DIR",
    help="Its share, and all of its network. For root.",
)
@click.option("--firmware", type=click.Choice(["bios", "uefi", "secure"]), default="bios", show_default=True)
@click.option("--boot", type=click.Choice(["direct", "iso", "usb", "pxe"]), default="direct", show_default=True)
@click.option("-a", "--argument", "arguments", multiple=True, metavar="ARG", help="Kernel argument.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="A secret, by QEMU's fw_cfg.")
@click.option("--memory", type=int, default=1024, show_default=True, help="MiB of the machine.")
@click.option(
    "--image", "folder", type=FILE, metavar="DIR", show_default=output_dir().name, help="Folder of the live image."
)
@reported
def run(
    disks: tuple[Path, ...],
    share: Path | None,
    firmware: str,
    boot: str,
    arguments: tuple[str, ...],
    secrets: tuple[str, ...],
    memory: int,
    folder: Path | None,
) -> int:
    """Run the live image in QEMU, on disk images. Exit: 0 ok, 1 failed, 2 refused."""
    if share:
        _refuse_other_shares(arguments)
    hidden = tuple(secret_file(text) for text in secrets)
    image = built_image(folder)
    drives = [runs.drive(path) for path in disks]
    computer = Computer(drives=drives, firmware=firmware, boot=boot, memory=memory, cpus=2, secrets=hidden)
    report = runs.run_image(image, computer, arguments, share=SharedFolder(folder=share) if share else None, echo=True)
    return {"ok": 0, "refused": 2}.get(report.status, 1)


def _refuse_other_shares(arguments: tuple[str, ...]) -> None:
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in runs.URLS and "://" in value:
            raise Refused(
                f"cannot reach '{value}' from a machine with --share: its network has nothing but that folder",
                hint=f"name a place on the share, as in {key}=NAME, or leave out --share",
            )
