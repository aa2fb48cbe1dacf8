"""The reader of lvpack.grow: a policy, or rules for LVs."""

import re

from lvpack_agent.settings.values import (
    FILL,
    MAX,
    NONE,
    PACKED,
    PLUS,
    RAM,
    SHARE,
    SIZE,
    SOURCE,
    Grow,
    GrowRule,
)
from lvpack_agent.sizes import parse_size

_POLICIES = (SOURCE, FILL, NONE)
_WORDS = (MAX, SOURCE, PACKED, RAM)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%", re.ASCII)


def grow(text: str) -> Grow:
    """Read source, fill or none, or rules NAME=HOW with commas between them. Raises ValueError."""
    if text in _POLICIES:
        return Grow(policy=text)
    rules = tuple(_rule(part) for part in text.split(","))
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two rules name '{twice[0]}'")
    return Grow(policy=SOURCE, rules=rules)


def _rule(text: str) -> GrowRule:
    # A label may have an equals sign in it, a size has none.
    name, equals, how = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"'{text}' is neither {', '.join(_POLICIES)} nor a rule NAME=SIZE")
    if how in _WORDS:
        return GrowRule(text=text, name=name, how=how)
    if how.endswith("%"):
        found = _PERCENT.fullmatch(how)
        if not found or float(found[1]) > 100:
            raise ValueError(f"'{how}' in '{text}' is no share from 0% to 100%")
        return GrowRule(text=text, name=name, how=SHARE, percent=float(found[1]))
    try:
        size = parse_size(how.removeprefix("+"))
    except ValueError:
        raise ValueError(
            f"'{how}' in '{text}' is neither a size such as 20G, +20G or 50% nor {', '.join(_WORDS)}"
        ) from None
    return GrowRule(text=text, name=name, how=PLUS if how.startswith("+") else SIZE, size=size)
