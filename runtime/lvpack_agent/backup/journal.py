"""A journal of in-place mode, and how it is written: a folder on the share.

It says what shall be done to a machine's disk, and what is done. Its name has the UUID of the VG and a name of the disk
that no clone of it has. progress.json is there from the beginning and replaced after each step; journal.json is written
once, before the first write to the disk, and makes the folder a journal. Both are whole at any moment: they are
written beside their place, synced, and renamed.
"""

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvpack_agent.backup.claim import PREFIX as CLAIM
from lvpack_agent.backup.claim import Claim
from lvpack_agent.backup.journal_read import read
from lvpack_agent.backup.journal_record import PROGRESS, PROGRESS_MOST, RECORD, RECORD_MOST, Progress, Record
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import files
from lvpack_agent.jsonform import to_json

_README = """\
This folder is the journal of an in-place run of lvpack on one machine. Do not change or remove it while that run is
not finished: "store" may hold data that the machine's disk needs to become consistent again. Boot the machine with
lvpack and the same options as before, and the run goes on. layout/ has what the disk was before the run began.
"""


class Journal:
    """A journal on the share, and this boot's claim to it."""

    def __init__(self, folder: Path, record: Record, progress: Progress, claim: Claim) -> None:
        self.folder, self.record, self.progress, self.claim = folder, record, progress, claim

    def discard(self) -> None:
        """Remove the journal of a run that has not written to the disk. What the share refuses to remove stays."""
        with suppress(LvpackError, OSError):
            _clear(self.folder, self.claim)

    def mend(self) -> bool:
        """Write the journal anew if it is not on the share as this boot knows it; return whether that was so.

        A server that exports with async may lose what it had acknowledged, when it is started again. Raises Failed if
        the share does not take it, Disagreement if the folder is another machine's now.
        """
        self.claim.check()
        with suppress(Failed, Refused):  # damaged is not as it was
            found = read(self.folder)
            if found and _text(*found) == _text(self.record, self.progress):
                return False
        try:
            _replace(self.folder / RECORD, to_json(self.record))
            _replace(self.folder / PROGRESS, to_json(self.progress))
        except OSError as error:
            raise _unwritable(error) from error
        return True

    def advance(self, **changes: Any) -> None:
        """Write down progress: changes are fields of Progress. It is on the share's disk when this returns.

        Raises Failed if the share does not take it, Disagreement if the folder is another machine's now.
        """
        self.claim.check()
        progress = replace(self.progress, **changes)
        try:
            _replace(self.folder / PROGRESS, to_json(progress))
        except OSError as error:
            raise _unwritable(error) from error
        self.progress = progress


def _text(record: Record, progress: Progress) -> str:
    return json.dumps([to_json(record), to_json(progress)])


def _unwritable(error: OSError) -> Failed:
    return Failed(
        f"cannot write the journal to the share: {error.strerror}",
        hint="check the space on the share and the network",
    )


def find(folder: Path, claim: Claim) -> Journal | None:
    """Return the journal in a folder that this boot has claimed; None if there is none.

    Raises Failed if it cannot be read, Refused if it has a form that this version does not know.
    """
    found = read(folder)
    return Journal(folder, *found, claim) if found else None


def begin(folder: Path, claim: Claim, record: Record, layout: Path) -> Journal:
    """Write a new journal to a claimed folder; all of it is on the share's disk when this returns.

    layout is a folder with the source's tables, which is copied into it. What is left there of a finished run, or of
    one that was cut off before its record was written, is removed. Raises Failed if the share does not take it.
    """
    progress = Progress()
    try:
        _clear(folder, claim)
        files.write_text(folder, "README.txt", _README)
        files.copy_layout(layout, folder)
        _replace(folder / PROGRESS, to_json(progress))
        _replace(folder / RECORD, to_json(record))
    except OSError as error:
        raise Failed(
            f"cannot write the journal to the share: {error.strerror}",
            hint="nothing was done to the disk; check the space on the share and that root of this machine may write",
        ) from error
    return Journal(folder, record, progress, claim)


def _clear(folder: Path, claim: Claim) -> None:
    """Remove all but claims from a journal folder; first the record, without which it is no journal.

    What another machine puts there meanwhile stays. Raises Disagreement if the folder is another machine's now.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith(CLAIM)]
    claim.check()
    for path in sorted(paths, key=lambda path: path.name != RECORD):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def now() -> str:
    """Return the time in UTC, as a journal has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _replace(path: Path, data: object) -> None:
    """Write a JSON file so that at any moment the whole old text or the whole new one is under its name."""
    new, limit = path.with_suffix(".new"), RECORD_MOST if path.name == RECORD else PROGRESS_MOST
    files.write_text(path.parent, new.name, json.dumps(data) + "\n", limit)
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
