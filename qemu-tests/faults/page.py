"""docs/faults.md: the table as people read it, with the date on which each row last passed."""

from collections.abc import Mapping, Sequence

from faults.row import Row
from lab.results import ROOT

PAGE = ROOT / "docs/faults.md"
_HEAD = """# What fails, and what comes of it

Made by `make faults` from the table in `qemu-tests/faults/rows.py`; each row is played in a guest, with real disks, a
real NFS server and real tools. A row names the moment by what the console said just before. Whatever fails: the source
is untouched (in place: the next boot finishes it), the share has a whole set or none and says why (`NAME.failed.log`),
a target has all that belongs to it or no partition table. The last column has the day on which a row last passed;
without one `make faults` has not played it since it was written, or it did not pass. The core tests play six of them.

| job | what fails | when | the run ends | it says | the run after it | last passed |
|---|---|---|---|---|---|---|
"""


def write_page(rows: Sequence[Row], results: Mapping[str, Mapping[str, str]]) -> None:
    """Write the page from the rows and from results by a row's name: outcome and date."""
    PAGE.write_text(_HEAD + "".join(_line(row, results.get(row.name, {})) for row in rows))


def _line(row: Row, result: Mapping[str, str]) -> str:
    passed = result.get("date", "") if result.get("outcome") == "passed" else ""
    job = f"{row.job} {' '.join(f'`{word}`' for word in row.words)}".strip()
    says = "; ".join(row.says)
    cells = [
        job,
        row.fault.name,
        f"`{row.when}`" if row.when else "from the start",
        row.status or "cut",
        says,
        row.again,
        passed,
    ]
    return "| " + " | ".join(cells) + " |\n"
