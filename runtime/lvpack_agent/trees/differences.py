"""Differences between a tree of files and its copy, gathered as they are found, and what people are told of them.

A difference in names, in contents or in who may do what with a file is fatal: nobody could use that copy for the
original. All others are worth a warning.
"""

from dataclasses import dataclass, field

from lvpack_agent.errors import Failed
from lvpack_agent.trees.walk import shown

# How many differences are named.
_NAMED = 3


@dataclass(slots=True)
class Compared:
    """What is left to do when a folder is compared, and what was found.

    folders: those in it. shared: files that share blocks. links: for files with several names, the inodes in original
    and copy, and a path. other: by attribute that differs, the first path and the number of files. fatal:
    sentences on the first fatal differences; count: the number of all of them.
    """

    folders: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    links: list[tuple[int, int, str]] = field(default_factory=list)
    other: dict[str, tuple[str, int]] = field(default_factory=dict)
    fatal: list[str] = field(default_factory=list)
    count: int = 0

    def differs(self, path: str, what: str, times: int = 1) -> None:
        """Note that what, an attribute of a file, or of as many files as times, differs in the copy."""
        first, count = self.other.get(what, (path, 0))
        self.other[what] = first, count + times

    def wrong(self, path: str, words: str) -> None:
        """Note a fatal difference; words follow the path of the file."""
        self.count += 1
        if len(self.fatal) < _NAMED:
            self.fatal.append(f"'{shown(path)}' {words}")


class Differences:
    """Gathers what differs between two trees."""

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
        """Return the differences that are worth a warning, for people. Raises Failed if there is a fatal one."""
        if self._all.count:
            more = self._all.count - len(self._all.fatal)
            rest = f"; and {more:,} more differences" if more else ""
            raise Failed(f"cannot trust a copy: {'; '.join(self._all.fatal)}{rest}")
        found = []
        for what, (path, count) in sorted(self._all.other.items()):
            verb = f"and {count - 1:,} more differ in" if count > 1 else "differs in"
            found.append(f"'{shown(path)}' {verb} {shown(what)}")
        return found
