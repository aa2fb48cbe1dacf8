"""`lvpack convert`."""

from pathlib import Path

import click

from lvpack_builder.cli.place import PLACE, reached, reaches
from lvpack_builder.cli.shared import FILE, reported, say
from lvpack_builder.sets.convert import convert as write
from lvpack_builder.sets.place import Place


@click.command()
@click.argument("image_set", type=PLACE)
@click.argument("out", type=FILE)
@reaches()
@reported
def convert(image_set: Place, out: Path, arguments: tuple[str, ...], secrets: tuple[str, ...]) -> None:
    """Write the packed disk of an image set as OUT.qcow2, further ones as OUT-1.qcow2, …."""
    where, how = reached("convert", image_set, arguments, secrets)
    for file in write(where, out, how, say):
        say(f"wrote {file}")
