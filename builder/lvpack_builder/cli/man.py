"""`lvpack man`."""

import shutil
import tempfile
from pathlib import Path

import click

from lvpack_agent.processes import run
from lvpack_builder.cli import pages
from lvpack_builder.cli.roff import Page, plain, roff
from lvpack_builder.cli.shared import reported

# Programs that show a page's file on this terminal, the better one first.
VIEWERS = (("man", "-l"), ("mandoc", "-a"))


@click.command()
@click.argument("page", type=click.Choice(["lvpack", "cmdline"]), default="lvpack")
@click.option("--roff", "source", is_flag=True, help="Print the page's source.")
@click.pass_context
@reported
def man(ctx: click.Context, page: str, source: bool) -> None:
    """Show a manual page: lvpack(1), or lvpack.cmdline(7) about the kernel options."""
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    wanted = pages.cmdline() if page == "cmdline" else pages.lvpack(group)
    if source:
        click.echo(roff(wanted), nl=False)
    else:
        show(wanted)


def show(page: Page) -> None:
    """Show a page by man(1) or mandoc(1), else as plain text."""
    viewer = next((words for words in VIEWERS if shutil.which(words[0])), None)
    if viewer is None:
        click.echo_via_pager(plain(page).rstrip("\n"))
        return
    with tempfile.TemporaryDirectory(prefix="lvpack-") as folder:
        file = Path(folder) / page.file
        file.write_text(roff(page))
        run([*viewer, file], capture=False)
