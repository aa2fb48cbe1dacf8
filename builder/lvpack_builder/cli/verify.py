"""`lvpack verify`."""

import click

from lvpack_agent.image.losses import summary
from lvpack_builder.cli.place import PLACE, reached, reaches
from lvpack_builder.cli.shared import reported, say
from lvpack_builder.sets.place import Place
from lvpack_builder.sets.verify import verify as check


@click.command()
@click.argument("image_set", type=PLACE)
@reaches()
@reported
def verify(image_set: Place, arguments: tuple[str, ...], secrets: tuple[str, ...]) -> None:
    """Check that an image set is complete and unchanged."""
    manifest = check(*reached("verify", image_set, arguments, secrets), say)
    if missing := summary(manifest.unreadable):
        say(f"warning: {missing}")
    say(f"image set {manifest.name} is complete and unchanged")
