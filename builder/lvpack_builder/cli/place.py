"""Where image sets are, as an argument: a folder or the URL of a share, and the options that a URL needs."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import click

from lvpack_agent.secret.secrets import keep_out_of_core_dumps
from lvpack_builder.cli.shared import note
from lvpack_builder.image.secrets import read_secrets
from lvpack_builder.sets import place
from lvpack_builder.sets.place import Means, Place


class _Place(click.Path):
    """A path, which shells complete; or a URL, which stays text."""

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        if isinstance(value, str) and place.is_url(value):
            return value
        return super().convert(value, param, ctx)


# readable: as FILE in shared.py.
PLACE = _Place(path_type=Path, readable=False)
_SECRET = click.option(
    "--secret", "secrets", multiple=True, metavar="NAME=FILE", help="A secret for the share of a URL."
)
_HOW = "lvpack.share=… for the share of a URL, lvpack.patience=…, as on the kernel command line"


def reaches(more: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command the options -a and --secret; more: what else -a takes, for people."""
    argument = click.option(
        "-a",
        "--argument",
        "arguments",
        multiple=True,
        metavar="ARG",
        help=f"{more}{'; ' if more else ''}{_HOW}.",
    )

    def options(command: Callable[..., Any]) -> Callable[..., Any]:
        return _SECRET(argument(command))

    return options


def reached(
    verb: str, where: Place, arguments: Sequence[str], secrets: Sequence[str], *, beside: int = 1
) -> tuple[Place, Means]:
    """Return the place and how it is reached; a URL names what is so many names below its share.

    Raises Refused: cannot VERB 'URL': … if it is none that can be read here; for options and secrets that are not fit.
    """
    if not isinstance(where, Path):
        where = place.checked_url(verb, where, beside=beside)
    if secrets:
        keep_out_of_core_dumps()
    return where, place.means(where, arguments, read_secrets(secrets), note)
