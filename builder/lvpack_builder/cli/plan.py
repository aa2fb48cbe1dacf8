"""`lvpack plan`."""

import click

from lvpack_agent.errors import Refused
from lvpack_agent.settings.read import check_words
from lvpack_agent.sizes import parse_size
from lvpack_builder.cli.place import PLACE, reached, reaches
from lvpack_builder.cli.shared import reported, warn
from lvpack_builder.sets.describe import plan_text, restore_plan
from lvpack_builder.sets.place import OPTIONS, Place, manifest_of

GROW = "lvpack.grow"
VERB = "show the plan of"


@click.command()
@click.argument("image_set", type=PLACE)
@click.option(
    "--target-size",
    "sizes",
    multiple=True,
    metavar="SIZE",
    help="Size of the disk to restore to, such as 40G; once for each disk of the set. Shows the plan of that restore.",
)
@click.option("--memory", metavar="SIZE", help="Memory of that machine, for rules NAME=ram.")
@reaches(f"{GROW}=…, as for that restore")
@reported
def plan(
    image_set: Place, sizes: tuple[str, ...], memory: str | None, arguments: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    """Show the plan that an image set was packed by, or that of a restore."""
    check_words(arguments)
    of_share = tuple(argument for argument in arguments if argument.partition("=")[0] in OPTIONS)
    rules = tuple(argument for argument in arguments if argument not in of_share)
    for argument in rules:
        if not argument.startswith(f"{GROW}="):
            raise Refused(f"cannot plan with '{argument}'", hint=f"a plan of a restore knows {GROW} only")
    if not sizes and (rules or memory):
        raise Refused("cannot plan a restore: the size of its disk is missing", hint="give --target-size, such as 40G")
    manifest = manifest_of(VERB, *reached(VERB, image_set, of_share, secrets))
    if not sizes:
        click.echo(plan_text(manifest))
        return
    given = [_size("--target-size", text) for text in sizes]
    text, warnings = restore_plan(manifest, given, rules, _size("--memory", memory) if memory else None)
    click.echo(text)
    for warning in warnings:
        warn(warning)


def _size(option: str, text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise Refused(f"cannot use {option} '{text}': {error}", hint="give a size such as 40G") from None
