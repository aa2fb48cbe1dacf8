"""`lvpack build`."""

from pathlib import Path

import click

from lvpack_builder.boot.netboot import Host, mac_address
from lvpack_builder.cli.shared import FILE, KERNEL_OPTIONS, reported
from lvpack_builder.image import build as make
from lvpack_builder.image.packages import read_pins
from lvpack_builder.image.recipe import DEFAULT_RELEASE, Recipe
from lvpack_builder.image.secrets import read_secrets
from lvpack_builder.paths import output_dir


class BuildCommand(click.Command):
    """A command whose -a and --secret belong to the --host before them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["order"] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def grouped(order: list[str], kind: str, given: tuple[str, ...], hosts: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return MAC and the words of a kind as they were given: those for every machine come first, with no MAC."""
    words, macs = iter(given), iter(hosts)
    groups: list[tuple[str, list[str]]] = [("", [])]
    for name in order:
        if name == "hosts":
            groups.append((next(macs), []))
        elif name == kind:
            groups[-1][1].append(next(words))
    return groups


@click.command(cls=BuildCommand, epilog=KERNEL_OPTIONS)
@click.option(
    "-o", "--output", type=FILE, metavar="DIR", show_default=output_dir().name, help="Folder for the live image."
)
@click.option("-a", "--argument", "arguments", multiple=True, metavar="ARG", help="Kernel argument for all machines.")
@click.option("--host", "hosts", multiple=True, metavar="MAC", help="The -a and --secret after it are this machine's.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="A secret for all machines.")
@click.option("--secrets-in-iso", is_flag=True, help="Put the secrets of all machines into the ISO, too.")
@click.option("--release", default=DEFAULT_RELEASE, show_default=True, metavar="NAME", help="Debian release.")
@click.option("--firmware", is_flag=True, help="Add non-free firmware of network and disk adapters.")
@click.option("--element", "elements", multiple=True, metavar="NAME", help="Add a diskimage-builder element.")
@click.option("--pin", type=FILE, metavar="MANIFEST", help="Package versions of an earlier manifest.json.")
@click.pass_context
@reported
def build(
    ctx: click.Context,
    output: Path | None,
    arguments: tuple[str, ...],
    hosts: tuple[str, ...],
    secrets: tuple[str, ...],
    secrets_in_iso: bool,
    release: str,
    firmware: bool,
    elements: tuple[str, ...],
    pin: Path | None,
) -> None:
    """Build the live image: a hybrid ISO and a netboot kit, for BIOS and UEFI."""
    (_, common), *groups = grouped(ctx.meta["order"], "arguments", arguments, hosts)
    (_, shared), *hidden = grouped(ctx.meta["order"], "secrets", secrets, hosts)
    machines = [
        Host(mac=mac_address(mac), arguments=(*common, *own), secrets=read_secrets(files))
        for (mac, own), (_, files) in zip(groups, hidden, strict=True)
    ]
    pins = read_pins(pin) if pin else None
    recipe = Recipe(release=release, firmware=firmware, elements=elements, pins=pins)
    image = make.build(
        output or output_dir(),
        arguments=common,
        hosts=machines,
        recipe=recipe,
        secrets=read_secrets(shared),
        secrets_in_iso=secrets_in_iso,
    )
    click.echo(f"built {image.iso} and the netboot kit {image.kit}")
