"""What the files of an in-place run's journal hold: journal.json a Record, progress.json a Progress."""

from dataclasses import dataclass
from typing import Any

from lvpack_agent.plan.values import Plan
from lvpack_agent.sizes import MIB

# 1 (lvpack 0.1.0): a folder inplace-VGUUID, whose journal.json does not have the steps.
SCHEMA = 2
RECORD, PROGRESS = "journal.json", "progress.json"
# No more is read of these files, and none larger is written. A Record has the plan and its steps: each run of extents
# that moves is in both, some 300 bytes together; a Progress has sixteen hashes at most.
RECORD_MOST, PROGRESS_MOST = 64 * MIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was decided before the first write to the disk. The file is written once.

    schema is the version of this form, lvpack that of the program; created is a time in UTC; name is that of the image
    set. disk tells this disk from a clone of it: its WWN, else its serial number, else the machine's UUID. unclean are
    names ("LV root", "partition 1") of filesystems with a journal to replay. steps is the JSON form of all steps that
    follow from the plan, those of a regrow last: Progress counts them. run is a random word that its image set has as
    well; "" in journals of lvpack 0.1.0.
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
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A resized filesystem in a snapshot that shall be merged, or is being merged.

    before and after are the SHA-256 of each sector in the filesystem's first 4 KiB, where its superblock is, as they
    are before and after the merge. store is the token of the store; it holds size bytes. begun is set once the VG has
    the tag for this store; not a block was merged before that.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    store: str
    size: int
    begun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run is. The file is replaced after each step.

    done counts steps; merge is the merge that is under way; merged is the token of the store whose merge ended last, ""
    if none has. dumping: NAME.partial on the share, if there is one, is of this run. dumped: the image set is complete.
    shrink_moved and compact_moved are bytes. finished is the time in UTC when all was done, "" before; heads is then a
    hash of all superblocks, by which a later boot sees whether the filesystems were used since.
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
