"""The rules of prune.list: what of a root filesystem goes into the live image, by the last rule that names it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_builder.image.tree import Tree

RULES = Path(__file__).parent / "prune.list"
VERBS = ("keep", "drop", "needed")
PACKAGE = "package:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of prune.list: its verb, and a path or package:NAME, in which `*` stands within a name."""

    verb: str
    pattern: str

    def matches(self, text: str) -> bool:
        """Tell whether the rule names a path, or "package:NAME"; what is below a path follows it."""
        return bool(_compiled(self.pattern).fullmatch(text))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(part) for part in pattern.split("*")))


def parse(text: str) -> list[Rule]:
    """Read prune.list. Raises Failed, naming the line, if it is no rule."""
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in VERBS or not words[1].startswith(("/", PACKAGE)):
            raise Failed(
                f"cannot read rule '{line}' in line {number} of prune.list: it is not VERB PATH",
                hint=f"verbs are {', '.join(VERBS)}",
            )
        rules.append(Rule(verb=words[0], pattern=words[1]))
    return rules


def verdicts(tree: Tree, rules: Sequence[Rule], owners: Mapping[str, str]) -> dict[str, str]:
    """Return the verb for each path: the last rule that names it or a folder above it; keep if there is none.

    owners: file → Debian package.
    """
    numbered = list(enumerate(rules))
    of_package = {p: _last(numbered, f"{PACKAGE}{p}") for p in set(owners.values())}
    found: dict[str, str] = {}
    last = {"": -1}
    for folder in sorted(tree.folders):  # a folder comes before what is in it
        for path in tree.folders[folder]:
            last[path] = max(_last(numbered, path), last[folder], of_package.get(owners.get(path, ""), -1))
            found[path] = rules[last[path]].verb if last[path] >= 0 else "keep"
    return found


def _last(numbered: Sequence[tuple[int, Rule]], text: str) -> int:
    return next((number for number, rule in reversed(numbered) if rule.matches(text)), -1)
