"""Where the journals of in-place runs are on a share, and how they are read, also those of other machines."""

import hashlib
import re
from pathlib import Path
from typing import Any

from lvpack_agent import guarded
from lvpack_agent.backup.journal_record import (
    PROGRESS,
    PROGRESS_MOST,
    RECORD,
    RECORD_MOST,
    SCHEMA,
    Progress,
    Record,
)
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.jsonform import from_json
from lvpack_agent.machine import dmi

# What to do about a damaged journal.
PUT_BACK = (
    "put the folder back from a backup of the share that is not older than the last boot of that run; "
    "do not start the server; layout/ in it has what the disk was"
)


def identity(disk: BlockDevice) -> str:
    """Return the name that tells a disk from a clone of it, as a Record has it.

    It is the disk's WWN, else its serial number, else the UUID of the machine it is in.
    """
    return disk.wwn or disk.serial or f"of machine {dmi.machine().get('product_uuid', 'unknown')}"


def folder(share: Path, vg_uuid: str, disk: str) -> Path:
    """Return where on a share the journal for a disk is; disk as identity() gives it. There may be no such folder."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", disk).strip("-")[:40]
    return share / f"{former_name(vg_uuid)}-{readable}-{hashlib.sha256(disk.encode()).hexdigest()[:8]}"


def former_name(vg_uuid: str) -> str:
    """Return the name of the folder that lvpack 0.1.0 made: one for all disks that have a VG with that UUID."""
    return f"inplace-{vg_uuid}"


def unfinished(share: Path, vg_uuid: str) -> list[Path]:
    """Return the journal folders, of all disks with that VG, whose runs are not finished or cannot be read."""
    return [path for path in sorted(share.glob(f"{former_name(vg_uuid)}-*")) if not _is_over(path)]


def _is_over(folder: Path) -> bool:
    try:
        return read_object(folder / RECORD) is None or bool((read_object(folder / PROGRESS) or {}).get("finished"))
    except Failed:
        return False


def read(folder: Path) -> tuple[Record, Progress] | None:
    """Return what a journal folder holds, be it another machine's; None if it holds no journal.

    Raises Failed if it cannot be read, Refused if it has a form that this version does not know.
    """
    # Without a record the disk was not written to: it comes before everything else.
    data = read_object(folder / RECORD)
    if data is None:
        return None
    if data.get("schema") != SCHEMA:
        raise Refused(
            f"cannot go on with the in-place run in '{folder.name}': lvpack {data.get('lvpack')} began it, its journal "
            f"has schema {data.get('schema')}, not {SCHEMA}",
            hint="boot the live image of that version to finish it",
        )
    written = read_object(folder / PROGRESS)
    if written is None:
        raise _damaged(folder, f"{PROGRESS} is missing, so nothing tells what is done")
    try:
        record, progress = from_json(Record, data), from_json(Progress, written)
    except ValueError as error:
        raise _damaged(folder, error) from error
    if cause := record.plan.contradiction():
        raise _damaged(folder, f"{RECORD} contradicts itself: {cause}")
    return record, progress


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file of a journal; None if there is no such file. Raises Failed if it is damaged."""
    try:
        return guarded.read_object(path, RECORD_MOST if path.name == RECORD else PROGRESS_MOST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except guarded.Odd as odd:
        raise _damaged(path.parent, f"{path.name}: {odd.strerror}") from odd
    except OSError as error:
        raise Failed(
            f"cannot read '{path.name}' of the journal '{path.parent.name}': {error.strerror}",
            hint="check the server and the network, and boot again with the same options",
        ) from error
    except ValueError as error:
        raise _damaged(path.parent, f"{path.name}: {error}") from error


def _damaged(folder: Path, error: Exception | str) -> Failed:
    return Failed(
        f"cannot read the journal of an in-place run in '{folder.name}': {error}",
        hint=PUT_BACK,
    )
