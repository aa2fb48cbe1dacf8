"""`lvpack plan`."""

from pathlib import Path

import click

from lvpack_agent.errors import Refused
from lvpack_agent.settings.read import check_words
from lvpack_agent.sizes import parse_size
from lvpack_builder.cli.shared import FILE, reported, warn
from lvpack_builder.sets.describe import plan_text, restore_plan
from lvpack_builder.sets.find import manifest_of

GROW = "lvpack.grow"


@click.command()
@click.argument("image_set", type=FILE)
@click.option(
    "--target-size",
    "sizes",
    multiple=True,
    metavar="SIZE",
    help="Size of the disk to restore to, such as 40G; once for each disk of the set. Shows the plan of that restore.",
)
@click.option("--memory", metavar="SIZE", help="Memory of that machine, for rules NAME=ram.")
@click.option("-a", "--argument", "arguments", multiple=True, metavar="ARG", help=f"{GROW}=…, as for that restore.")
@reported
def plan(image_set: Path, sizes: tuple[str, ...], memory: str | None, arguments: tuple[str, ...]) -> None:
    """Show the plan that an image set was packed by, or that of a restore."""
    check_words(arguments)
    for argument in arguments:
        if not argument.startswith(f"{GROW}="):
            raise Refused(f"cannot plan with '{argument}'", hint=f"a plan of a restore knows {GROW} only")
    if not sizes and (arguments or memory):
        raise Refused("cannot plan a restore: the size of its disk is missing", hint="give --target-size, such as 40G")
    manifest = manifest_of("show the plan of", image_set, warn)
    if not sizes:
        click.echo(plan_text(manifest))
        return
    given = [_size("--target-size", text) for text in sizes]
    text, warnings = restore_plan(manifest, given, arguments, _size("--memory", memory) if memory else None)
    click.echo(text)
    for warning in warnings:
        warn(warning)


def _size(option: str, text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise Refused(f"cannot use {option} '{text}': {error}", hint="give a size such as 40G") from None
