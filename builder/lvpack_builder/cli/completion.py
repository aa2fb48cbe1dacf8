"""`lvpack completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete lvpack's words: source <(lvpack completion bash)"""
    root = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind
    click.echo(kind(root.command, {}, "lvpack", "_LVPACK_COMPLETE").source())
