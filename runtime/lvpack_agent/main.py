"""From a command line to a result line: settings, action, report, and what follows."""

import argparse
from pathlib import Path

from lvpack_agent import shells
from lvpack_agent.console import Console

RUN = Path("/run/lvpack")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lvpack_agent")
    parser.add_argument("--cmdline", help="take the options from here instead of /proc/cmdline")
    parser.parse_args(arguments)
    RUN.mkdir(parents=True, exist_ok=True)
    console = Console.of_this_machine(RUN / "agent.log")
    console.say("lvpack 0.1.0")
    shells.on_every_console()
    return 0
