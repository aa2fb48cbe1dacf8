"""From whatever ended a run to the error that its report says."""

import traceback
from contextlib import suppress

from lvpack_agent import places
from lvpack_agent.errors import Failed, LvpackError
from lvpack_agent.printable import printable
from lvpack_agent.session import Session


def as_ours(error: BaseException, doing: str) -> LvpackError:
    """Return the exception that is being handled as one of ours; the traceback of a foreign one goes to the log."""
    if isinstance(error, LvpackError):
        return error
    with suppress(OSError, MemoryError), places.LOG.open("a", encoding="utf-8") as log:
        log.writelines(f"| {printable(line)}\n" for line in traceback.format_exc().splitlines())
    if isinstance(error, KeyboardInterrupt):
        return Failed(f"cannot {doing}: it was interrupted", hint="start it again")
    cause = f"{type(error).__name__}: {error}"
    return Failed(f"cannot {doing}: {cause}", hint=f"this is a defect of lvpack; {places.LOG} says where")


def say_notes(error: BaseException | None, session: Session) -> None:
    """Say, once, what failed while an error, and those that it was raised from, were on their way (see Undo)."""
    while error:
        notes = getattr(error, "__notes__", [])
        for note in notes:
            session.say(f"while cleaning up: {note}")
        notes.clear()
        error = error.__cause__
