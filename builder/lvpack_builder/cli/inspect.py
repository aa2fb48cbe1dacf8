"""`lvpack inspect`."""

import click

from lvpack_builder.cli.place import PLACE, reached, reaches
from lvpack_builder.cli.shared import reported
from lvpack_builder.sets.describe import describe
from lvpack_builder.sets.place import Place, manifest_of


@click.command()
@click.argument("image_set", type=PLACE)
@reaches()
@reported
def inspect(image_set: Place, arguments: tuple[str, ...], secrets: tuple[str, ...]) -> None:
    """Show what an image set holds."""
    click.echo(describe(manifest_of("inspect", *reached("inspect", image_set, arguments, secrets))))
