"""In-place mode's journal: a folder on the share that says what shall be done to a machine's disk and what is done.

Its name has the UUID of the VG and what tells the disk from a clone. progress.json is there from the beginning and
replaced after each step; journal.json is written once, before the first write to the disk, and makes the folder a
journal. Both are whole at any moment: they are written beside their place, synced, and renamed.
"""

import hashlib
import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvpack_agent.backup.claim import PREFIX as CLAIM
from lvpack_agent.backup.claim import Claim
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import files
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.machine import dmi
from lvpack_agent.plan.values import Plan

# 1 (lvpack 0.1.0): a folder inplace-VGUUID, whose journal.json does not have the steps.
SCHEMA = 2
RECORD, PROGRESS = "journal.json", "progress.json"

_README = """\
This folder is the journal of an in-place run of lvpack on one machine. Do not change or remove it while that run is
not finished: "store" may hold data that the machine's disk needs to become consistent again. Boot the machine with
lvpack and the same options as before, and the run goes on. layout/ has what the disk was before the run began.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was decided before the first write; unclean as in steps.shrinking().

    disk is what tells this disk from a clone of it: its WWN, else its serial number, else the machine's UUID. steps is
    the JSON form of all steps that the plan means, those of a regrow last: Progress counts them.
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
    steps: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A snapshot that is being merged.

    before and after are the SHA-256 of each sector of the filesystem's first 4 KiB (the superblock is there), store is
    the token of the store, and size what that holds, in bytes. begun: the VG says so, too; nothing was merged before.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    store: str
    size: int
    begun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run is: steps done, the merge that is under way, bytes moved so far by shrink and by compaction.

    merged is the token of the store whose merge ended last, "" if none has. dumping: NAME.partial on the share, if
    there is one, is of this run. finished is when all was done, "" while it is not; heads then stands for the
    superblocks of all filesystems, so that a later boot sees whether they were used.
    """

    done: int = 0
    merge: Merge | None = None
    merged: str = ""
    dumping: bool = False
    dumped: bool = False
    shrink_moved: int = 0
    compact_moved: int = 0
    finished: str = ""
    heads: str = ""


class Journal:
    """A journal on the share, and this boot's claim to it."""

    def __init__(self, folder: Path, record: Record, progress: Progress, claim: Claim) -> None:
        self.folder, self.record, self.progress, self.claim = folder, record, progress, claim

    def discard(self) -> None:
        """Remove the journal of a run that has not written to the disk, as far as the share lets it."""
        with suppress(LvpackError, OSError):
            _clear(self.folder, self.claim)

    def advance(self, **changes: Any) -> None:
        """Write down progress; it is on the share when this returns.

        Raises Failed if the share does not take it, Disagreement if the folder is another machine's now.
        """
        self.claim.check()
        progress = replace(self.progress, **changes)
        try:
            _replace(self.folder / PROGRESS, to_json(progress))
        except OSError as error:
            raise Failed(
                f"cannot write the journal to the share: {error.strerror}",
                hint="check the space on the share and the network",
            ) from error
        self.progress = progress


def identity(disk: BlockDevice) -> str:
    """Return what tells a disk from a clone of it, as Record has it."""
    return disk.wwn or disk.serial or f"of machine {dmi.machine().get('product_uuid', 'unknown')}"


def folder(share: Path, vg_uuid: str, disk: str) -> Path:
    """Return the journal folder of a machine; disk as in Record."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", disk).strip("-")[:40]
    return share / f"{_former_name(vg_uuid)}-{readable}-{hashlib.sha256(disk.encode()).hexdigest()[:8]}"


def _former_name(vg_uuid: str) -> str:
    """Return the name of the folder that lvpack 0.1.0 made, of which only one disk with that VG could have one."""
    return f"inplace-{vg_uuid}"


def refuse_former(share: Path, vg_uuid: str) -> None:
    """Raise Refused if lvpack 0.1.0 began an in-place run of a machine with that VG and did not finish it.

    Its steps are not in its journal, and those that this version would take may be others.
    """
    former = share / _former_name(vg_uuid)
    data = _read(former / RECORD)
    if data is None:
        return
    progress = _read(former / PROGRESS) or {}
    if not progress.get("finished"):
        raise Refused(
            f"cannot pack this machine: lvpack {data.get('lvpack')} began an in-place run of VG "
            f"'{data.get('vg')}' (disk {data.get('disk')}) in '{former.name}' on the share, and it is not finished",
            hint="boot the live image of that version with the options of that run to finish it. If that was a clone "
            "of this disk, which does not need the journal any more, move the folder away",
        )


def unfinished(share: Path, vg_uuid: str) -> list[Path]:
    """Return the journal folders of all disks with that VG whose runs are not finished, or not known to be."""
    return [path for path in sorted(share.glob(f"{_former_name(vg_uuid)}-*")) if not _is_over(path)]


def _is_over(folder: Path) -> bool:
    try:
        return _read(folder / RECORD) is None or bool((_read(folder / PROGRESS) or {}).get("finished"))
    except Failed:
        return False


def find(folder: Path, claim: Claim) -> Journal | None:
    """Return the journal in a folder; None if there is none.

    Raises Failed if it cannot be read, Refused if it has a form that this version does not know.
    """
    found = read(folder)
    return Journal(folder, *found, claim) if found else None


def read(folder: Path) -> tuple[Record, Progress] | None:
    """Return what a journal folder holds, also that of another machine. Raises as find() does."""
    # Without a record the disk was not written to: it comes before everything else.
    data = _read(folder / RECORD)
    if data is None:
        return None
    if data.get("schema") != SCHEMA:
        raise Refused(
            f"cannot go on with the in-place run in '{folder.name}': lvpack {data.get('lvpack')} began it, its journal "
            f"has schema {data.get('schema')}, not {SCHEMA}",
            hint="boot the live image of that version to finish it",
        )
    written = _read(folder / PROGRESS)
    if written is None:
        raise _damaged(folder, f"{PROGRESS} is missing, so nothing tells what is done")
    try:
        return from_json(Record, data), from_json(Progress, written)
    except ValueError as error:
        raise _damaged(folder, error) from error


def _read(path: Path) -> dict[str, Any] | None:
    """Return the object in a file of a journal; None if there is no such file. Raises Failed if it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"{path.name} holds no object")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Failed(
            f"cannot read '{path.name}' of the journal '{path.parent.name}': {error.strerror}",
            hint="check the server and the network, and boot again with the same options",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path.parent, error) from error
    return data


def _damaged(folder: Path, error: Exception | str) -> Failed:
    return Failed(
        f"cannot read the journal of an in-place run in '{folder.name}': {error}",
        hint="put the folder back from a backup of the share that is not older than the last boot of that run; "
        "do not start the server; layout/ in it has what the disk was",
    )


def begin(folder: Path, claim: Claim, record: Record, layout: Path) -> Journal:
    """Write a new journal, with the folder layout (the source's tables) in it; all of it is on the share then.

    A finished journal, or one without a record, gives way.
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
    """Remove what is in a journal folder but for claims; first the record, without which it is no journal.

    What another machine makes there meanwhile is none of it. Raises Disagreement if the folder is another's.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith(CLAIM)]
    claim.check()
    for path in sorted(paths, key=lambda path: path.name != RECORD):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def refuse_unfinished(share: Path, vg_uuid: str, disk: str) -> None:
    """Raise Refused if an in-place run of that disk is not finished: it is halfway."""
    refuse_former(share, vg_uuid)
    own = folder(share, vg_uuid, disk)
    if own in unfinished(share, vg_uuid):
        raise Refused(
            f"cannot pack this machine in overlay mode: its in-place run in '{own.name}' on the share is not finished",
            hint="boot with lvpack.mode=inplace and the options of that run to finish it first",
        )


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _replace(path: Path, data: object) -> None:
    """Write a file so that at any moment its name has the old or the new text, whole."""
    new = path.with_suffix(".new")
    files.write_text(path.parent, new.name, json.dumps(data) + "\n")
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
