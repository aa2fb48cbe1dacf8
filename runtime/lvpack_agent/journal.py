"""In-place mode's journal: a folder on the share that says what shall be done to a machine's disk and what is done.

It is found by the UUID of the VG. journal.json is written once, before the first write to the disk; progress.json is
replaced after each step. Both are whole at any moment: they are written beside their place, synced, and renamed.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvpack_agent import VERSION, imageset
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.plan import Plan

SCHEMA = 1
RECORD, PROGRESS = "journal.json", "progress.json"

_README = """\
This folder is the journal of an in-place run of lvpack on one machine. Do not change or remove it while that run is
not finished: "store" may hold data that the machine's disk needs to become consistent again. Boot the machine with
lvpack and the same options as before, and the run goes on. layout/ has what the disk was before the run began.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was decided before the first write; unclean as in steps.shrinking().

    disk is what tells this disk from a clone of it: its WWN, else its serial number, else the machine's UUID.
    """

    schema: int
    lvpack: str
    created: str
    name: str
    vg: str
    vg_uuid: str
    disk: str
    plan: Plan
    unclean: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A snapshot that is being merged.

    before and after are the SHA-256 of each sector of the filesystem's first 4 KiB (the superblock is there), store is
    the token of the store, and size what that holds, in bytes.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    store: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run is: steps done, the merge that is under way, bytes moved so far by shrink and by compaction.

    dumping: NAME.partial on the share, if there is one, is of this run. finished is when all was done, "" while it is
    not; heads then stands for the superblocks of all filesystems, so that a later boot sees whether they were used.
    """

    done: int = 0
    merge: Merge | None = None
    dumping: bool = False
    dumped: bool = False
    shrink_moved: int = 0
    compact_moved: int = 0
    finished: str = ""
    heads: str = ""


class Journal:
    """A journal on the share."""

    def __init__(self, folder: Path, record: Record, progress: Progress) -> None:
        self.folder, self.record, self.progress = folder, record, progress

    def discard(self) -> None:
        """Remove a journal of a run that has not written to the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def advance(self, **changes: Any) -> None:
        """Write down progress; it is on the share when this returns. Raises Failed if the share does not take it."""
        progress = replace(self.progress, **changes)
        try:
            _replace(self.folder / PROGRESS, to_json(progress))
        except OSError as error:
            raise Failed(
                f"cannot write the journal to the share: {error.strerror}",
                hint="check the space on the share and the network",
            ) from error
        self.progress = progress


def folder_name(vg_uuid: str) -> str:
    """Return the name of a machine's journal folder on the share."""
    return f"inplace-{vg_uuid}"


def find(share: Path, vg_uuid: str) -> Journal | None:
    """Return the journal of the machine with that VG; None if there is none.

    Raises Failed if it cannot be read, Refused if another version of lvpack wrote it.
    """
    folder = share / folder_name(vg_uuid)
    try:
        # Without a record the disk was not written to: it comes before everything else.
        data = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    if data.get("schema") != SCHEMA or data.get("lvpack") != VERSION:
        raise Refused(
            f"cannot go on with the in-place run in '{folder.name}': lvpack {data.get('lvpack')} began it, this is "
            f"{VERSION}",
            hint="boot the image of that version to finish it",
        )
    try:
        record = from_json(Record, data)
        path = folder / PROGRESS
        progress = from_json(Progress, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    return Journal(folder, record, progress)


def _damaged(folder: Path, error: Exception) -> Failed:
    return Failed(
        f"cannot read the journal of an in-place run in '{folder.name}': {error}",
        hint="put the folder back from a backup of the share; layout/ in it has what the disk was",
    )


def begin(share: Path, record: Record, layout: Path) -> Journal:
    """Write a new journal, with the folder layout (the source's tables) in it; all of it is on the share then.

    A finished journal, or one without a record, gives way.
    """
    folder = share / folder_name(record.vg_uuid)
    try:
        # Without its record a journal is none, whatever else of it is still there.
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        imageset.write_text(folder, "README.txt", _README)
        imageset.copy_layout(layout, folder)
        _replace(folder / RECORD, to_json(record))
    except OSError as error:
        raise Failed(
            f"cannot write the journal to the share: {error.strerror}",
            hint="nothing was done to the disk; check the space on the share and that root of this machine may write",
        ) from error
    return Journal(folder, record, Progress())


def refuse_unfinished(share: Path, vg_uuid: str) -> None:
    """Raise Refused if an in-place run of the machine with that VG is not finished: its disk is halfway."""
    found = find(share, vg_uuid)
    if found and not found.progress.finished:
        raise Refused(
            f"cannot pack this machine in overlay mode: its in-place run of {found.record.created} is not finished",
            hint="boot with lvpack.mode=inplace and the options of that run to finish it first",
        )


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _replace(path: Path, data: object) -> None:
    """Write a file so that at any moment its name has the old or the new text, whole."""
    new = path.with_suffix(".new")
    imageset.write_text(path.parent, new.name, json.dumps(data) + "\n")
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
