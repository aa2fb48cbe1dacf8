"""NAME.failed.log on the share: why a backup was refused or has failed, for whoever comes when the machine is off."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvpack_agent import VERSION, guarded, places
from lvpack_agent.backup.dump import set_name
from lvpack_agent.backup.job import Job
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image.files import FOLDER_MODES
from lvpack_agent.outcome import as_ours, say_notes
from lvpack_agent.report import Report
from lvpack_agent.session import Session
from lvpack_agent.shares.share import Share

SUFFIX = ".failed.log"
# What each begins with: no other file is written over, or removed.
FIRST = "lvpack: the log of a backup that ended without an image set"
# What a set is called by, if its host is not known yet.
NOBODY = "lvpack"


@contextmanager
def left_if_bad(job: Job) -> Iterator[None]:
    """If the run of a job ends badly, leave its log on the share; if it ends well, remove one of the same name.

    Enter it when the share is mounted, and before all that is undone at the end of a run: that is logged as well. An
    error goes on as one of ours, its notes said.
    """
    settings = job.settings
    with suppress(OSError):
        if not job.shared.is_remote:  # such a share is gone with its agent
            places.LEAVES.write_text(json.dumps({"name": settings.name, "readers": settings.readers}))
    try:
        yield
    except BaseException as error:
        ours = job.session.explain(as_ours(error, "finish backup"))
        say_notes(error, job.session)
        leave(job.shared, settings.name, settings.readers, job.session, job.session.stopped(ours))
        if ours is error:
            raise
        raise ours from error
    finally:
        with suppress(OSError):
            places.LEAVES.unlink()
    if name := job.session.name or job.session.called:
        remove(job.shared, name)


def leave_of_killed(session: Session, report: Report) -> None:
    """Do what left_if_bad() does for an agent that was killed, if a share takes its log; session is its successor's."""
    try:
        how = json.loads(places.LEAVES.read_text())
    except FileNotFoundError:
        return
    session.logged = lambda: places.LOG.read_text(errors="replace")
    leave(Share(name="", folder=places.SHARE), how["name"], how["readers"], session, report)


def leave(share: Share, wanted: str, readers: str, session: Session, report: Report) -> None:
    """Write the log and the result of a run to the share; warn if that cannot be. wanted is lvpack.name.

    One of an earlier run with that name is replaced; beside any other file this one gets another name.
    """
    name = session.name or session.called or wanted
    path = share.folder / f"{name or NOBODY}{SUFFIX}"
    try:
        name = name or set_name(share, "", NOBODY)
        path = share.folder / f"{name}{SUFFIX}"
        # A share that is gone is waited for here once, and not at each of the steps that follow.
        with suppress(FileNotFoundError):
            if not is_one(share, path):
                path = share.folder / f"{set_name(share, '', name)}{SUFFIX}"
        new = share.folder / f".{secrets.token_hex(8)}{SUFFIX}"
        try:
            text = _text(session.logged(), report).encode(errors="replace")
            share.write(new, text, FOLDER_MODES[readers] & 0o666)
            share.replace(new, path)
        except BaseException:
            with suppress(OSError, Failed, Refused):
                share.unlink(new)
            raise
        session.say(f"the log of this run is on the share: {path.name}")
    except (OSError, Failed, Refused) as error:
        cause = error.message if isinstance(error, LvpackError) else error.strerror
        session.warn(f"cannot leave the log of this run on the share as '{path.name}': {cause}")


def remove(share: Share, name: str) -> None:
    """Remove the log of an earlier run that had this name. One that cannot be removed stays."""
    path = share.folder / f"{name}{SUFFIX}"
    with suppress(OSError, Failed, Refused):
        if is_one(share, path):
            share.unlink(path)


def is_one(share: Share, path: Path) -> bool:
    """Return whether a file is what leave() has written. Raises OSError if it cannot be read."""
    try:
        return share.source(path).read(0, len(FIRST)) == FIRST.encode()
    except guarded.Odd:
        return False


def _text(log: str, report: Report) -> str:
    said = f"{report.status}: {report.message}\n" + (f"  {report.hint}\n" if report.hint else "")
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return f"{FIRST}\nlvpack {VERSION}, {when}\n\n{said}\n{log}\n{report.line()}\n"
