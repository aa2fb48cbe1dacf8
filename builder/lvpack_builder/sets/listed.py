"""A list of image sets as text: a table for people, JSON for programs."""

import json
import textwrap
from collections.abc import Iterator
from time import gmtime, strftime
from typing import Any

from lvpack_agent import VERSION
from lvpack_agent.jsonform import to_json
from lvpack_agent.shares.server_clock import shown
from lvpack_agent.sizes import human
from lvpack_builder.sets.rows import BAD, COMPLETE, UNFINISHED, Listing, LogRow, SetRow

# Of the JSON form (docs/interfaces.md).
SCHEMA = 1
WIDTH = 100
# So many warnings of a set are shown to people, and so much of each.
WARNINGS, LONGEST = 5, 600
_HEAD = ("image set", "made (UTC)", "age", "disk", "packed", "stored")


def as_table(found: Listing) -> str:
    """Return a table, with what is to be said of a row below it."""
    rows = [row for machine in found.machines for row in _of_machine(found, machine)]
    cells = [row for row in rows if isinstance(row, tuple)]
    widths = [max(len(row[n]) for row in (_HEAD, *cells)) for n in range(len(_HEAD))]
    lines = [_aligned(_HEAD, widths)] if cells else []
    lines += [_aligned(row, widths) if isinstance(row, tuple) else row for row in rows]
    return "\n".join([*lines, *([""] if lines else []), _total(found)])


def _of_machine(found: Listing, machine: str) -> Iterator[tuple[str, ...] | str]:
    """Yield a line about a machine, cells of its rows, and lines about these."""
    sets = [row for row in found.sets if row.machine == machine]
    model = next((row.model for row in sets if row.model), "")
    yield f"{machine} ({model})" if model else machine
    for row in sets:
        sizes = (row.source_disk, row.packed_disk, row.stored)
        yield _cells(row.name, row.created, found.now, *("-" if size is None else human(size) for size in sizes))
        if row.cause:
            yield from _note(row.state, row.cause)
        for text in row.warnings[:WARNINGS]:
            yield from _note("warning", text)
        if (more := len(row.warnings) - WARNINGS) > 0:
            yield from _note("warning", f"and {more} more; `lvpack inspect` shows them")
    for log in found.failed:
        if log.machine == machine:
            yield _cells(log.file, log.ended, found.now, "", "", "")
            yield from _note(log.status or "log", log.message or log.cause)


def _cells(name: str, at: int | None, now: int, *sizes: str) -> tuple[str, ...]:
    return (name, "-" if at is None else shown(at), "-" if at is None else age(now - at), *sizes)


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    (name, made, *numbers), (first, second, *others) = cells, widths
    columns = [name.ljust(first), made.ljust(second), *(n.rjust(w) for n, w in zip(numbers, others, strict=True))]
    return f"  {'  '.join(columns)}".rstrip()


def _note(what: str, text: str) -> Iterator[str]:
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    yield from textwrap.wrap(f"{what}: {short}", WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)


def age(seconds: float) -> str:
    """Return how long ago something was, to the unit that tells: 45 min, 30 h, 12 d. What is to come is now."""
    minutes = max(0, int(seconds)) // 60
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _total(found: Listing) -> str:
    by_state = {state: [row for row in found.sets if row.state == state] for state in (COMPLETE, BAD, UNFINISHED)}
    complete, count = by_state[COMPLETE], len(found.machines)
    size = human(sum(row.stored or 0 for row in complete))
    text = f"{_count(len(complete), 'image set')} of {_count(count, 'machine')}, {size} stored"
    if not found.sets and not found.failed:
        return f"no image sets at {found.share}"
    rest = {"bad": len(by_state[BAD]), "unfinished": len(by_state[UNFINISHED])}
    others = [f"{number} {what}" for what, number in rest.items() if number]
    others += [_count(len(found.failed), "failed log")] if found.failed else []
    return f"{text}; {', '.join(others)}" if others else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_json(found: Listing) -> str:
    """Return the JSON form, in printable ASCII."""
    form = {
        "schema": SCHEMA,
        "lvpack": VERSION,
        "share": found.share,
        "time": _time(found.now),
        "sets": [_timed(row, "created", row.created, found.now) for row in found.sets],
        "failed": [_timed(row, "ended", row.ended, found.now) for row in found.failed],
    }
    return json.dumps(form, indent=1)


def _timed(row: SetRow | LogRow, key: str, at: int | None, now: int) -> dict[str, Any]:
    return {**to_json(row), key: _time(at), "age": None if at is None else now - at}


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
