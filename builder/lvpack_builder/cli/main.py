"""The command line of the workstation."""

import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from lvpack_agent import VERSION
from lvpack_agent.errors import LvpackError
from lvpack_agent.image import check
from lvpack_agent.settings import table as options
from lvpack_builder import sets

FILE = click.Path(path_type=Path)
# \b keeps click from filling the lines (click: "Preventing Rewrapping").
KERNEL_OPTIONS = f"\b\nKernel arguments of lvpack, for -a:\n{options.as_text()}"


class Interrupted(KeyboardInterrupt):
    """A signal that asks a process to end; it undoes what was begun, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _interrupt(number: int, _: object) -> None:
    raise Interrupted(number)


def _reported(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn lvpack's errors and signals into a message and an exit status.

    1 failed, 2 refused, 128 and the number of a signal (sh(1)).
    """

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, _interrupt)
        try:
            sys.exit(command(*args, **kwargs) or 0)
        except LvpackError as error:
            click.echo(f"lvpack: {error.message}", err=True)
            if error.hint:
                click.echo(f"  {error.hint}", err=True)
            sys.exit(2 if error.status == "refused" else 1)
        except Interrupted as interrupted:
            name = signal.Signals(interrupted.number).name
            click.echo(f"lvpack: interrupted by {name}", err=True)
            sys.exit(128 + interrupted.number)

    return wrapper


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def main() -> None:
    """Pack a Linux server that lives on LVM into the smallest disk image that still boots."""


class BuildCommand(click.Command):
    """A command whose -a belong to the --host before them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["order"] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def _grouped(order: list[str], arguments: tuple[str, ...], hosts: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return MAC and arguments as they were given: those for every machine come first, with no MAC."""
    words, macs = iter(arguments), iter(hosts)
    groups: list[tuple[str, list[str]]] = [("", [])]
    for name in order:
        if name == "hosts":
            groups.append((next(macs), []))
        elif name == "arguments":
            groups[-1][1].append(next(words))
    return groups


@main.command(cls=BuildCommand, epilog=KERNEL_OPTIONS)
@click.option("-o", "--output", type=FILE, default=None, help="Folder for the live image. [default: out]")
@click.option("-a", "--argument", "arguments", multiple=True, help="Kernel argument, e.g. lvpack.target=nfs://…")
@click.option(
    "--host", "hosts", multiple=True, metavar="MAC", help="The -a that follow are for this machine's netboot menu only."
)
@click.option("--release", default="trixie", show_default=True, help="Debian release of the live image.")
@click.option("--firmware", is_flag=True, help="Add non-free firmware of network cards and host adapters.")
@click.option("--element", "elements", multiple=True, metavar="NAME", help="Add a diskimage-builder element.")
@click.option("--pin", type=FILE, metavar="MANIFEST", help="Take the package versions of an earlier manifest.json.")
@click.pass_context
@_reported
def build(
    ctx: click.Context,
    output: Path | None,
    arguments: tuple[str, ...],
    hosts: tuple[str, ...],
    release: str,
    firmware: bool,
    elements: tuple[str, ...],
    pin: Path | None,
) -> None:
    """Build the live image: a hybrid ISO and a netboot kit, for BIOS and UEFI."""
    from lvpack_builder.boot.netboot import Host, mac_address
    from lvpack_builder.image import build as builder
    from lvpack_builder.image.packages import read_pins
    from lvpack_builder.image.recipe import Recipe
    from lvpack_builder.paths import output_dir

    (_, common), *groups = _grouped(ctx.meta["order"], arguments, hosts)
    machines = [Host(mac=mac_address(mac), arguments=(*common, *own)) for mac, own in groups]
    pins = read_pins(pin) if pin else None
    recipe = Recipe(release=release, firmware=firmware, elements=elements, pins=pins)
    image = builder.build(output or output_dir(), arguments=common, hosts=machines, recipe=recipe)
    click.echo(f"built {image.iso} and the netboot kit {image.kit}")


@main.command(epilog=KERNEL_OPTIONS)
@click.option("--disk", "disks", type=FILE, multiple=True, required=True, help="Disk image file; several times.")
@click.option("--share", type=FILE, help="Folder that the machine sees as its share.")
@click.option("--firmware", type=click.Choice(["bios", "uefi", "secure"]), default="bios", show_default=True)
@click.option("--boot", type=click.Choice(["direct", "iso", "usb", "pxe"]), default="direct", show_default=True)
@click.option("-a", "--argument", "arguments", multiple=True, help="Kernel argument such as lvpack.action=plan.")
@click.option("--memory", type=int, default=1024, show_default=True, help="MiB of the machine.")
@click.option("--image", "folder", type=FILE, help="Folder of the live image. [default: out]")
@_reported
def run(
    disks: tuple[Path, ...],
    share: Path | None,
    firmware: str,
    boot: str,
    arguments: tuple[str, ...],
    memory: int,
    folder: Path | None,
) -> int:
    """Run the live image in QEMU against disk images. Exit status: 0 ok, 1 failed, 2 refused."""
    from lvpack_builder.image.build import built_image
    from lvpack_builder.lab import runs

    image = built_image(folder)
    drives = [runs.drive(path) for path in disks]
    report = runs.run_image(
        image, drives, arguments, share=share, firmware=firmware, boot=boot, memory=memory, cpus=2, echo=True
    )
    return {"ok": 0, "refused": 2}.get(report.status, 1)


@main.command()
@click.argument("image_set", type=FILE)
@_reported
def plan(image_set: Path) -> None:
    """Show the plan that an image set was packed by."""
    click.echo(sets.plan_text(check.read_manifest(image_set)))


@main.command()
@click.argument("image_set", type=FILE)
@_reported
def inspect(image_set: Path) -> None:
    """Show what an image set holds."""
    click.echo(sets.describe(check.read_manifest(image_set)))


@main.command()
@click.argument("image_set", type=FILE)
@_reported
def verify(image_set: Path) -> None:
    """Check that an image set is complete and unchanged."""
    manifest = sets.verify(image_set, click.echo)
    click.echo(f"image set {manifest.name} is complete and unchanged")


@main.command()
@click.argument("image_set", type=FILE)
@click.argument("out", type=FILE)
@_reported
def convert(image_set: Path, out: Path) -> None:
    """Write the packed disk of an image set as OUT.qcow2, further ones as OUT-1.qcow2, …."""
    for file in sets.convert(image_set, out, click.echo):
        click.echo(f"wrote {file}")


@main.command()
@_reported
def demo() -> None:
    """Make a sample LVM server, pack it, restore it to a smaller disk, boot that."""
    from lvpack_builder.lab.demo import demo as show

    show(click.echo)


@main.command("options")
def list_options() -> None:
    """Show the kernel command-line options of the live image."""
    click.echo(options.as_markdown(), nl=False)


if __name__ == "__main__":
    main()
