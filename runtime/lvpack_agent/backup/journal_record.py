"""What the files of an in-place run's journal hold: journal.json a Record, progress.json a Progress."""

from dataclasses import dataclass
from typing import Any

from lvpack_agent.plan.values import Plan

# 1 (lvpack 0.1.0): a folder inplace-VGUUID, whose journal.json does not have the steps.
SCHEMA = 2
RECORD, PROGRESS = "journal.json", "progress.json"


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
