"""What differs between a tree of files and its copy, as it is found, and what people are told of it.

What makes a copy another one than its original is fatal: its names and contents, and who may do what with them. All
else is worth a warning.
"""

from dataclasses import dataclass, field

from lvpack_agent.errors import Failed
from lvpack_agent.trees.walk import shown

# How many differences are named.
_NAMED = 3


@dataclass(slots=True)
class Compared:
    """What is left to do when a folder is compared, and what was found.

    folders: those in it; shared: files that share blocks; links: the inodes of files with several names, as pairs, and
    a path; other: by what is another one in the copy, the first path and how many there are. fatal: the first
    sentences of count.
    """

    folders: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    links: list[tuple[int, int, str]] = field(default_factory=list)
    other: dict[str, tuple[str, int]] = field(default_factory=dict)
    fatal: list[str] = field(default_factory=list)
    count: int = 0

    def differs(self, path: str, what: str, times: int = 1) -> None:
        """Note that something of a file, or of as many as that, is another one in the copy."""
        first, count = self.other.get(what, (path, 0))
        self.other[what] = first, count + times

    def wrong(self, path: str, words: str) -> None:
        """Note that a copy is another one than its original, by what is said of a file."""
        self.count += 1
        if len(self.fatal) < _NAMED:
            self.fatal.append(f"'{shown(path)}' {words}")


class Differences:
    """What differs between two trees, as it is found."""

    def __init__(self) -> None:
        self._all = Compared()
        self._links: dict[int, int] = {}
        self._originals: dict[int, int] = {}

    def add(self, found: Compared) -> None:
        """Take in what was found in a folder or of a file."""
        self._all.fatal = [*self._all.fatal, *found.fatal][:_NAMED]
        self._all.count += found.count
        for what, (path, count) in found.other.items():
            self._all.differs(path, what, count)
        for old, new, path in found.links:
            if self._links.setdefault(old, new) != new or self._originals.setdefault(new, old) != old:
                self._all.wrong(path, "is linked with other files than before")

    def settle(self) -> list[str]:
        """Return in what the copy differs, for people. Raises Failed if it is another one than the original."""
        if self._all.count:
            more = self._all.count - len(self._all.fatal)
            rest = f"; and {more:,} differences more" if more else ""
            raise Failed(f"cannot trust a copy: {'; '.join(self._all.fatal)}{rest}")
        found = []
        for what, (path, count) in sorted(self._all.other.items()):
            verb = f"and {count - 1:,} more differ in" if count > 1 else "differs in"
            found.append(f"'{shown(path)}' {verb} {shown(what)}")
        return found
