"""From whatever ended a run to the error that its report says."""

import errno
import os
import re
import traceback
from collections.abc import Sequence
from contextlib import suppress

from lvpack_agent import places
from lvpack_agent.devices import ioerrors
from lvpack_agent.devices.ioerrors import DiskError
from lvpack_agent.errors import Disagreement, Ended, Failed, LvpackError, Refused
from lvpack_agent.printable import printable
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings

# What a disk, or the machine below it, answers that is at fault itself (kernel: block/blk-core.c, blk_errors).
DISK_FAULTS = (
    *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOSPC, errno.EROFS, errno.ENODATA, errno.EILSEQ),
    *(errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOLINK, errno.EBADE),
)
# These are in memory, or of files: a store, or the live image itself.
_NO_DISK = re.compile(r"(?:loop|dm-|z?ram)\d")
DISK_HINT = "look at dmesg: is the disk sound, its cable, its power? The share, if it is that, may be full or gone"


def as_ours(error: BaseException, doing: str) -> LvpackError:
    """Return the exception that is being handled as one of ours; the traceback of a foreign one goes to the log."""
    if isinstance(error, LvpackError):
        return error
    with suppress(OSError, MemoryError), places.LOG.open("a", encoding="utf-8") as log:
        log.writelines(f"| {printable(line)}\n" for line in traceback.format_exc().splitlines())
    if isinstance(error, KeyboardInterrupt):
        return Failed(f"cannot {doing}: it was interrupted", hint="start it again")
    if isinstance(error, OSError) and error.errno in DISK_FAULTS:
        where = f" '{error.filename}'" if error.filename else ""
        return Failed(f"cannot {doing}: {os.strerror(error.errno)}{where}", hint=DISK_HINT)
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


def disk_errors() -> tuple[DiskError, ...]:
    """Return what the kernel says of disks since this machine started; nothing if that cannot be read."""
    try:
        return ioerrors.read()
    except LvpackError:
        return ()


def with_disk_errors(
    error: LvpackError, new: Sequence[DiskError], settings: Settings, sources: Sequence[str] = ()
) -> LvpackError:
    """Return an error with what the kernel says of disks since the run began: that may be why a tool failed.

    sources are the paths of the disks that are packed: bad sectors of these alone can be skipped.
    """
    new = [e for e in new if not _NO_DISK.match(e.name)]
    unsaid = [e for e in new if not (e.path in error.message and str(e.sector) in error.message)]
    if not unsaid or len(unsaid) < len(new) or isinstance(error, Refused | Ended):
        return error
    more = f" (and {len(unsaid) - 1} more such errors in dmesg)" if len(unsaid) > 1 else ""
    skips = settings.action == "backup" and settings.mode == "overlay" and settings.errors == "stop"
    first = unsaid[0]
    skips = skips and first.operation == "READ" and first.path in sources and "lvpack.errors=skip" not in error.hint
    hint = (error.hint or "the disk, its cable or its power is at fault (dmesg)") + (
        "; lvpack.errors=skip packs what can be read" if skips else ""
    )
    kind = Disagreement if isinstance(error, Disagreement) else Failed
    told = kind(f"{error.message}; the kernel says: {first}{more}", hint=hint, remains=error.remains)
    told.__cause__ = error
    return told
