"""`lvpack verify`."""

from pathlib import Path

import click

from lvpack_agent.image.losses import summary
from lvpack_builder.cli.shared import FILE, reported, say
from lvpack_builder.sets.verify import verify as check


@click.command()
@click.argument("image_set", type=FILE)
@reported
def verify(image_set: Path) -> None:
    """Check that an image set is complete and unchanged."""
    manifest = check(image_set, say)
    if missing := summary(manifest.unreadable):
        say(f"warning: {missing}")
    say(f"image set {manifest.name} is complete and unchanged")
