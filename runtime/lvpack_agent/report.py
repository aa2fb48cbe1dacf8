"""The result of a run, and the line that programs read it from."""

import json
from dataclasses import dataclass, field

from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.printable import MARK

RESULT_MARK = f"{MARK}: "
# As JSON writes a character (RFC 8259): in its strings the mark does not stand, nor what json.dumps leaves of ASCII.
_IN_JSON = {MARK: MARK.replace("-", "\\u002d"), "\x7f": "\\u007f"}
# The value of a size or time that is not known yet. JSON forms leave it out.
UNKNOWN = -1
_IF_KNOWN = {"unless": UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of a run in bytes. What the run has not got to is UNKNOWN, and the result line leaves it out.

    source_disk, target_disk: all disks that are packed, or restored to. packed_disk: all packed disks. mapped: the part
    of these that holds data. image: all images as they are stored. store: the estimate of what the copy-on-write store
    takes; store_used: what it took. In place, shrink_moved and compact_moved are the bytes that the shrink and the
    compaction moved, and the estimates are what the plan expected of them.
    """

    source_disk: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    target_disk: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    packed_disk: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    mapped: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    image: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    store: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    store_used: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    shrink_estimate: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    shrink_moved: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    compact_estimate: int = field(default=UNKNOWN, metadata=_IF_KNOWN)
    compact_moved: int = field(default=UNKNOWN, metadata=_IF_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds that each phase took, repeated ones added up; UNKNOWN for a phase that the run did not have."""

    share: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    probe: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    plan: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    journal: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    shrink: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    compact: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    truncate: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    check: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    dump: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    read_back: float = field(default=UNKNOWN, metadata=_IF_KNOWN | {"name": "read back"})
    regrow: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    write: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    grow: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    verify: float = field(default=UNKNOWN, metadata=_IF_KNOWN)
    boot: float = field(default=UNKNOWN, metadata=_IF_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a run: status is ok, refused or failed; compression says which levels a dump used."""

    status: str
    action: str
    message: str
    hint: str = ""
    name: str = ""
    sizes: Sizes = Sizes()
    timings: Timings = Timings()
    warnings: tuple[str, ...] = ()
    compression: str = ""

    def line(self) -> str:
        """Return the line that programs read: the mark, which it has once, and JSON in printable ASCII."""
        text = json.dumps(to_json(self))
        for raw, escaped in _IN_JSON.items():
            text = text.replace(raw, escaped)
        return RESULT_MARK + text


def parse_result(line: str) -> Report:
    """Read a result line, also with other text before its mark. Raises ValueError."""
    _, mark, text = line.partition(RESULT_MARK)
    if not mark:
        raise ValueError("no result line")
    return from_json(Report, json.loads(text))
