"""What keeps the copy-on-write stores of an in-place run, also over a power loss: the share, or a scratch device."""

from typing import Protocol

from lvpack_agent.snapshots.stores import Store
from lvpack_agent.undo import Undo


class Keeper(Protocol):
    """Makes stores, finds them again after a power loss by their tokens, and removes them.

    At most one store is in use at a time.
    """

    @property
    def place(self) -> str:
        """Where the stores are, in words for a message."""
        ...

    def room(self) -> int:
        """Return how many bytes a store can take there now."""
        ...

    def fresh(self, origin: int, undo: Undo) -> Store:
        """Make an empty store for a snapshot of a device of origin bytes, with a token that no other store has.

        undo closes the store; what is in it stays. A store that was there before may be lost. Raises Failed if the
        place cannot be written, Refused if something else is there.
        """
        ...

    def again(self, token: str, undo: Undo) -> Store:
        """Open the store with a token, as an earlier boot left it; undo closes it.

        Raises Disagreement if it is not there.
        """
        ...

    def drop(self, token: str) -> None:
        """Give up the store with a token: nobody needs what is in it. Never raises."""
        ...

    def drop_all(self) -> None:
        """Give up all stores: nobody needs what is in them. Never raises."""
        ...

    def release(self) -> None:
        """Leave the place to others: the run is over."""
        ...
