"""`lvpack convert`."""

from pathlib import Path

import click

from lvpack_builder.cli.shared import FILE, reported, say
from lvpack_builder.sets.convert import convert as write


@click.command()
@click.argument("image_set", type=FILE)
@click.argument("out", type=FILE)
@reported
def convert(image_set: Path, out: Path) -> None:
    """Write the packed disk of an image set as OUT.qcow2, further ones as OUT-1.qcow2, …."""
    for file in write(image_set, out, say):
        say(f"wrote {file}")
