"""The command `lvpack`: the group of all commands."""

import click

from lvpack_agent import VERSION
from lvpack_builder.cli.build import build
from lvpack_builder.cli.completion import completion
from lvpack_builder.cli.convert import convert
from lvpack_builder.cli.demo import demo
from lvpack_builder.cli.inspect import inspect
from lvpack_builder.cli.list import list_sets
from lvpack_builder.cli.man import man
from lvpack_builder.cli.options import list_options
from lvpack_builder.cli.plan import plan
from lvpack_builder.cli.run import run
from lvpack_builder.cli.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def main() -> None:
    """Pack a Linux server that lives on LVM into the smallest disk image that still boots."""


for command in (build, run, list_sets, plan, inspect, verify, convert, demo, list_options, man, completion):
    main.add_command(command)
