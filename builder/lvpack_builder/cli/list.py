"""`lvpack list`."""

import time

import click

from lvpack_agent.errors import Refused
from lvpack_builder.cli.place import PLACE, reached, reaches
from lvpack_builder.cli.shared import reported
from lvpack_builder.sets.listed import as_json, as_table
from lvpack_builder.sets.listing import listing
from lvpack_builder.sets.metrics import as_metrics
from lvpack_builder.sets.place import Place, opened_share


@click.command("list")
@click.argument("share", type=PLACE)
@click.option("--json", "for_programs", is_flag=True, help="As JSON.")
@click.option("--metrics", is_flag=True, help="As metrics for Prometheus, by node_exporter's textfile collector.")
@reaches()
@reported
def list_sets(
    share: Place, for_programs: bool, metrics: bool, arguments: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    """Show the image sets on a share, by machine, with what is unfinished and what has failed."""
    if for_programs and metrics:
        raise Refused("cannot list as JSON and as metrics at once", hint="leave one of --json and --metrics out")
    where, how = reached("list", share, arguments, secrets, beside=0)
    with opened_share("list", where, how) as opened:
        found = listing(opened, time.time())
    form = as_json if for_programs else as_metrics if metrics else as_table
    click.echo(form(found).rstrip("\n"))
