"""`lvpack demo`."""

import click

from lvpack_builder.cli.shared import reported, say
from lvpack_builder.lab.demo import demo as show


@click.command()
@reported
def demo() -> None:
    """Make a sample LVM server, pack it, restore it to a smaller disk, boot that."""
    show(say)
