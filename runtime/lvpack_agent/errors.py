"""The two ways in which a run can end badly.

A message reads *cannot <verb> '<object>': cause*; the hint says what to do about it. Exceptions travel to
the one place (main) that turns them into a result line and an exit status.
"""

from typing import ClassVar


class LvpackError(Exception):
    """Base of all errors that a user may see."""

    status: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Failed(LvpackError):
    """Something that should have worked did not."""


class Disagreement(Failed):
    """The disk or the share is not as an earlier boot left it: to go on, now or at the next boot, would be a guess."""


class Refused(LvpackError):
    """lvpack does not do this here, by decision: unsupported, unsafe or not what was asked for."""

    status = "refused"
