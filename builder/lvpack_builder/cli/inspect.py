"""`lvpack inspect`."""

from pathlib import Path

import click

from lvpack_builder.cli.shared import FILE, reported, warn
from lvpack_builder.sets.describe import describe
from lvpack_builder.sets.find import manifest_of


@click.command()
@click.argument("image_set", type=FILE)
@reported
def inspect(image_set: Path) -> None:
    """Show what an image set holds."""
    click.echo(describe(manifest_of("inspect", image_set, warn)))
