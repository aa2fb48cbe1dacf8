"""`lvpack options`."""

import click

from lvpack_agent.settings.table import as_markdown


@click.command("options")
def list_options() -> None:
    """Show the kernel command-line options of the live image."""
    click.echo(as_markdown(), nl=False)
