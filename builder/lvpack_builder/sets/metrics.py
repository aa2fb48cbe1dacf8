"""A list of image sets as metrics, in the text format of Prometheus (exposition formats, version 0.0.4).

They are for the textfile collector of node_exporter.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lvpack_builder.sets.rows import BAD, COMPLETE, UNFINISHED, Listing, LogRow, SetRow, newest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What is on a share of a machine."""

    sets: tuple[SetRow, ...]
    failed: tuple[LogRow, ...]

    def count(self, state: str) -> int:
        return sum(row.state == state for row in self.sets)

    def of_newest(self, value: Callable[[SetRow], int | None]) -> int | None:
        row = newest(self.sets)
        return None if row is None else value(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A gauge of each machine: its name, its help, its value; None is left out."""

    name: str
    help: str
    of: Callable[[_Machine], int | None]


METRICS = (
    Metric(name="lvpack_sets", help="Complete image sets.", of=lambda m: m.count(COMPLETE)),
    Metric(name="lvpack_bad_sets", help="What looks like an image set and is damaged.", of=lambda m: m.count(BAD)),
    Metric(
        name="lvpack_unfinished_sets",
        help="Image sets that a backup is writing, or was cut off from.",
        of=lambda m: m.count(UNFINISHED),
    ),
    Metric(name="lvpack_failed_logs", help="Logs of backups that ended without a set.", of=lambda m: len(m.failed)),
    Metric(
        name="lvpack_stored_bytes",
        help="Images of all complete sets as they are stored.",
        of=lambda m: sum(row.stored or 0 for row in m.sets),
    ),
    Metric(
        name="lvpack_newest_set_timestamp_seconds",
        help="When the newest complete set was made, since 1970.",
        of=lambda m: m.of_newest(lambda row: row.created),
    ),
    Metric(
        name="lvpack_newest_set_source_bytes",
        help="Disks that the newest complete set was made of.",
        of=lambda m: m.of_newest(lambda row: row.source_disk),
    ),
    Metric(
        name="lvpack_newest_set_packed_bytes",
        help="Packed disks of the newest complete set.",
        of=lambda m: m.of_newest(lambda row: row.packed_disk),
    ),
    Metric(
        name="lvpack_newest_set_stored_bytes",
        help="Images of the newest complete set as they are stored.",
        of=lambda m: m.of_newest(lambda row: row.stored),
    ),
    Metric(
        name="lvpack_newest_set_warnings",
        help="Warnings of the newest complete set.",
        of=lambda m: m.of_newest(lambda row: len(row.warnings)),
    ),
    Metric(
        name="lvpack_newest_failed_log_timestamp_seconds",
        help="When the newest backup ended without a set, since 1970.",
        of=lambda m: max((log.ended for log in m.failed if log.ended is not None), default=None),
    ),
)
LISTED = "lvpack_list_timestamp_seconds"


def as_metrics(found: Listing) -> str:
    """Return the text of all metrics; who has it as a file replaces that as a whole."""
    share = f'share="{_label(found.share)}"'
    lines = [f"# HELP {LISTED} When the share was listed, since 1970.", f"# TYPE {LISTED} gauge"]
    lines.append(f"{LISTED}{{{share}}} {found.now}")
    machines = {
        name: _Machine(
            sets=tuple(row for row in found.sets if row.machine == name),
            failed=tuple(row for row in found.failed if row.machine == name),
        )
        for name in found.machines
    }
    for metric in METRICS:
        values = {name: value for name, each in machines.items() if (value := metric.of(each)) is not None}
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"] if values else []
        lines += [f'{metric.name}{{{share},machine="{_label(name)}"}} {value}' for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """Return a label's value as it stands in quotes: backslash, double quote and line feed are escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
