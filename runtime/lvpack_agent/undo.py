"""What gives a thing back is registered where the thing is acquired; if it fails, too, the first error still counts."""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import ParamSpec, TypeVar

from lvpack_agent.errors import LvpackError

P = ParamSpec("P")
T = TypeVar("T")


class Undo(ExitStack):
    """An ExitStack; if a callback fails while another error is on its way, it becomes a note on that error."""

    def callback(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Callable[P, T]:
        """Call function at the end. If it raises an LvpackError, that is raised only if nothing failed before."""

        def leave(_: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
            try:
                function(*args, **kwargs)
            except LvpackError as late:
                if error is None:
                    raise
                error.add_note(late.message)
            return False

        self.push(leave)
        return function
