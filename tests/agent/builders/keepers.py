"""A keeper of copy-on-write stores that makes none and remembers what it was asked to drop."""

from dataclasses import dataclass, field

from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo


@dataclass(slots=True, kw_only=True)
class NoKeeper:
    """free is how many bytes it says a store can take."""

    free: int = 0
    place: str = "nowhere"
    dropped: list[str] = field(default_factory=list)

    def room(self) -> int:
        return self.free

    def fresh(self, origin: int, undo: Undo) -> Store:
        raise AssertionError("no store was to be made")

    def again(self, token: str, undo: Undo) -> Store:
        raise AssertionError("no store was to be opened")

    def drop(self, token: str) -> None:
        self.dropped.append(token)

    def drop_all(self) -> None:
        self.dropped.append("all")

    def release(self) -> None:
        self.dropped.append("all")
