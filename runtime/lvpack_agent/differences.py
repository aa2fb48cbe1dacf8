"""What differs between a tree of files and its copy, as it is found, and what people are told of it.

What makes a copy another one than its original is fatal: its names and contents, and who may do what with them. All
else is worth a warning.
"""

from collections import Counter
from dataclasses import dataclass, field

from lvpack_agent.errors import Failed
from lvpack_agent.trees import shown

# How many differences are named.
_NAMED = 3


@dataclass(slots=True)
class Compared:
    """What is left to do when a folder is compared, and what was found.

    folders: those in it; shared: files that share blocks; links: the inodes of files with several names, as pairs;
    lost: paths, and what is another one there. fatal: sentences.
    """

    folders: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    links: list[tuple[int, int, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    fatal: list[str] = field(default_factory=list)


class Differences:
    """What differs between two trees, as it is found."""

    def __init__(self) -> None:
        self._fatal: list[str] = []
        self._count = 0
        self._lost: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._links: dict[int, int] = {}
        self._originals: dict[int, int] = {}

    def add(self, found: Compared) -> None:
        """Take in what was found in a folder or of a file."""
        self._note(found.fatal)
        for path, what in found.lost:
            self._lost[what] += 1
            self._first.setdefault(what, path)
        for old, new, path in found.links:
            if self._links.setdefault(old, new) != new or self._originals.setdefault(new, old) != old:
                self._note([f"'{shown(path)}' is linked with other files than before"])

    def _note(self, sentences: list[str]) -> None:
        self._count += len(sentences)
        self._fatal += sentences[: max(0, _NAMED - len(self._fatal))]

    def settle(self) -> list[str]:
        """Return in what the copy differs, for people. Raises Failed if it is another one than the original."""
        if self._count:
            more = self._count - len(self._fatal)
            raise Failed(
                f"cannot trust a copy: {'; '.join(self._fatal)}" + (f"; and {more:,} differences more" if more else "")
            )
        found = []
        for what, count in sorted(self._lost.items()):
            verb = f"and {count - 1:,} more differ in" if count > 1 else "differs in"
            found.append(f"'{shown(self._first[what])}' {verb} {shown(what)}")
        return found
