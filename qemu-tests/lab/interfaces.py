"""What docs/interfaces.md promises, for the tests that hold the page against the code and against each run."""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lvpack_agent.report import RESULT_MARK, Report

PAGE = Path(__file__).parents[2] / "docs/interfaces.md"
ALWAYS, MAY = "always", "may"


@cache
def tables() -> dict[str, list[list[str]]]:
    """Return the rows of the first table below each heading, in cells; the first row is the head."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
        if rows:
            cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[0].splitlines()]
            found[heading] = [cells[0], *cells[2:]]
    return found


@cache
def prose() -> str:
    """Return the page without line breaks."""
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def rows(heading: str) -> dict[str, list[str]]:
    """Return the other cells of each row of a table by what its first cell has as code."""
    found = {}
    for first, *others in tables()[heading][1:]:
        code = re.fullmatch(r"`([^`]+)`", first)
        assert code, f"'{first}' in the table of '{heading}' is no code"
        assert code[1] not in found, f"'{code[1]}' stands twice in the table of '{heading}'"
        found[code[1]] = others
    return found


def headings(above: str) -> list[str]:
    """Return the headings below one, down to the next of its rank."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition(f"\n## {above}\n")
    return re.findall(r"^### (.+)$", text.partition("\n## ")[0], re.MULTILINE)


def promised(heading: str, kind: str) -> dict[str, str]:
    """Return ALWAYS or MAY by key, for the kind of run whose column it is."""
    column = tables()[heading][0].index(kind) - 1
    return {key: cells[column] for key, cells in rows(heading).items() if cells[column]}


def kind_of(report: Report, arguments: Sequence[str]) -> str:
    """Return the column that a run belongs to."""
    if report.action == "plan" and any(word.startswith("lvpack.source=") for word in arguments):
        return "restore plan"
    in_place = report.action == "backup" and "lvpack.mode=inplace" in arguments
    return "in place" if in_place else report.action


def check_result(report: Report, arguments: Sequence[str]) -> None:
    """Compare the keys of a result with what the page promises for such a run."""
    if not report.action:
        return
    said = json.loads(report.line().removeprefix(RESULT_MARK))
    for heading, key in (("Sizes", "sizes"), ("Timings", "timings")):
        page = promised(heading, kind_of(report, arguments))
        assert said[key].keys() <= page.keys(), f"docs/interfaces.md, {heading}: {report}"
        if report.status == "ok":
            always = {name for name, when in page.items() if when == ALWAYS}
            assert said[key].keys() >= always, f"docs/interfaces.md, {heading}: {report}"
