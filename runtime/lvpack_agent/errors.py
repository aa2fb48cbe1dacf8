"""The ways in which a run can end badly.

A message reads *cannot <verb> '<object>': cause*; the hint says what to do about it. Exceptions travel to
the one place (main) that turns them into a result line and an exit status.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from lvpack_agent.printable import printable


class LvpackError(Exception):
    """Base of all errors that a user may see. What does not print is escaped in message and hint (printable).

    remains: what people must know of the state that the run is left in, whatever the cause; the message may have it.
    """

    status: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "", remains: str = "") -> None:
        self.message = printable(message)
        self.hint = printable(hint)
        self.remains = printable(remains)
        super().__init__(self.message)


class Failed(LvpackError):
    """Something that should have worked did not."""


class Disagreement(Failed):
    """The disk or the share is not as an earlier boot left it: to go on, now or at the next boot, would be a guess."""


class Ended(LvpackError):
    """The run was told to end. It is no Failed: what does without a thing that fails must not go on after this."""


class Refused(LvpackError):
    """lvpack does not do this here, by decision: unsupported, unsafe or not what was asked for."""

    status = "refused"


class Absent(Refused):
    """What lvpack works on is not there, as far as the disks can be read."""


# What readers raise that trust what they read: a number that is none, a key that is missing, an assertion.
_NOT_UNDERSTOOD = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
)


@contextmanager
def understood(what: str, *, hint: str = "") -> Iterator[None]:
    """Raise Failed when what a tool said, or what stands on a disk or a share, is not as its reader takes it to be.

    Also a decorator of such a reader: it may take any answer for a right one, and need not look at each value first.
    """
    try:
        yield
    except _NOT_UNDERSTOOD as error:
        cause = f"{type(error).__name__}: {error}"
        raise Failed(
            f"cannot understand {what}: {cause[:200]}", hint=hint or "lvpack.action=shell lets you look"
        ) from error
