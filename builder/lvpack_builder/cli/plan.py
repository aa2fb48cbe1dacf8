"""`lvpack plan`."""

from pathlib import Path

import click

from lvpack_builder.cli.shared import FILE, reported, warn
from lvpack_builder.sets.describe import plan_text
from lvpack_builder.sets.find import manifest_of


@click.command()
@click.argument("image_set", type=FILE)
@reported
def plan(image_set: Path) -> None:
    """Show the plan that an image set was packed by."""
    click.echo(plan_text(manifest_of("show the plan of", image_set, warn)))
