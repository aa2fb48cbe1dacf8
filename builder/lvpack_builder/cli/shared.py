"""What commands share: types of arguments, the help about kernel options, errors and signals as exit statuses."""

import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from lvpack_agent.errors import LvpackError
from lvpack_agent.printable import printable
from lvpack_agent.settings.table import as_text

# click would call what this user may not read a wrong argument; lvpack says why.
FILE = click.Path(path_type=Path, readable=False)
# \b keeps click from filling the lines (click: "Preventing Rewrapping").
KERNEL_OPTIONS = f"\b\nKernel options, for -a ('lvpack options' and 'lvpack man cmdline' say more):\n{as_text()}"


def note(text: str) -> None:
    """Say a line on stderr, while the command goes on."""
    click.echo(printable(text), err=True)


def warn(text: str) -> None:
    """Say on stderr what people should look at, while the command goes on."""
    click.echo(f"warning: {printable(text)}", err=True)


def say(text: str = "") -> None:
    """Print a line; what does not print in it, as in a name that comes from a set, is escaped."""
    click.echo(printable(text))


class Interrupted(KeyboardInterrupt):
    """A signal that asks a process to end; it undoes what was begun, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _interrupt(number: int, _: object) -> None:
    raise Interrupted(number)


def reported(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn lvpack's errors and signals into a message and an exit status.

    1 failed, 2 refused, 128 and the number of a signal (sh(1)).
    """

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, _interrupt)
        try:
            sys.exit(command(*args, **kwargs) or 0)
        except LvpackError as error:
            click.echo(f"lvpack: {error.message}", err=True)
            if error.hint:
                click.echo(f"  {error.hint}", err=True)
            sys.exit(2 if error.status == "refused" else 1)
        except Interrupted as interrupted:
            name = signal.Signals(interrupted.number).name
            click.echo(f"lvpack: interrupted by {name}", err=True)
            sys.exit(128 + interrupted.number)

    return wrapper
