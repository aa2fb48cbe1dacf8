"""Who is to be told of a run that has no settings: they were refused, or the agent was killed.

Tested by tests/agent/notify/test_notices.py.
"""

import json
from dataclasses import asdict, dataclass

from lvpack_agent import guarded, places
from lvpack_agent.errors import LvpackError
from lvpack_agent.settings.read import parse, words
from lvpack_agent.sizes import KIB

_NOTIFY, _SECRETS = "lvpack.notify=", "lvpack.secrets="
_MOST = 64 * KIB


@dataclass(frozen=True, slots=True)
class Asked:
    """Values of lvpack.notify, as text, and of lvpack.secrets."""

    notify: tuple[str, ...] = ()
    secrets: str = "auto"


def leave(asked: Asked) -> None:
    """Write down who is to be told if this agent is killed. Raises OSError."""
    guarded.write(places.NOTIFY, json.dumps(asdict(asked)).encode(), mode=0o600)


def of_killed() -> Asked | None:
    """Return what an agent that was killed has left; None if it has left nothing."""
    try:
        found = guarded.read_object(places.NOTIFY, _MOST)
        return Asked(tuple(found["notify"]), found["secrets"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def of_words(command_line: str) -> Asked:
    """Return what stands on a command line, whatever else is wrong with that; what is not fit is passed over."""
    notify: list[str] = []
    secrets = Asked().secrets
    for word in words(command_line):
        if not word.startswith((_NOTIFY, _SECRETS)):
            continue
        try:
            settings = parse(["lvpack.action=plan", word])
        except LvpackError:
            continue
        if settings and word.startswith(_NOTIFY):
            notify += settings.notify
        elif settings:
            secrets = settings.secrets
    return Asked(tuple(notify), secrets)
