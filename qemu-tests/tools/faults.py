"""The rig of faults: play each row of the table in a guest, and write docs/faults.md.

In qemu-tests/: ../.venv/bin/python -m tools.faults [--go-on] [--only WORDS] [--jobs 2] [--list]

A row that has passed with the very files that are there now is left out by --go-on. What a row left behind that did not
pass stays in the cache: disk, share, console.
"""

import json
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from faults.bench import Samples, samples
from faults.page import write_page
from faults.row import Row, play
from faults.rows import ROWS
from lab import results
from lvpack_agent.errors import LvpackError
from lvpack_builder.image.build import LiveImage, built_image
from lvpack_builder.paths import cache_dir

FILE = "faults.json"
_lock = threading.Lock()


def _folder(row: Row) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in row.name)
    return cache_dir() / "faults-failed" / name


def _played(row: Row, image: LiveImage, made: Samples) -> list[str]:
    folder = _folder(row)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        complaints = play(row, image, made, folder)
    except LvpackError as error:
        complaints = [f"{error.message} ({error.hint})"]
    except AssertionError as error:
        complaints = [f"cannot play it: {error}"]
    if not complaints:
        shutil.rmtree(folder)
    return complaints


def _results() -> dict[str, dict[str, str]]:
    path = cache_dir() / FILE
    found: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _keep(row: Row, state: str, complaints: Sequence[str]) -> None:
    with _lock:
        found = _results()
        found[row.name] = {"state": state, "date": time.strftime("%F"), "outcome": "; ".join(complaints) or "passed"}
        partial = (cache_dir() / FILE).with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=1))
        partial.rename(cache_dir() / FILE)


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--go-on", is_flag=True, help="Leave out rows that have passed with these files.")
@click.option("--only", multiple=True, help="Rows whose name has this; may be repeated.")
@click.option("--jobs", default=1, show_default=True, help="Guests at a time.")
@click.option("--list", "listing", is_flag=True, help="Print the names of the rows.")
@click.option("--page", is_flag=True, help="Only write docs/faults.md from the results that are kept.")
def main(go_on: bool, only: tuple[str, ...], jobs: int, listing: bool, page: bool) -> None:
    rows = [row for row in ROWS if not only or any(word in row.name for word in only)]
    if listing:
        for row in rows:
            click.echo(row.name)
        return
    if page:
        write_page(ROWS, _results())
        return
    state = results.state(results.ROOT)
    if go_on:
        kept = _results()
        rows = [
            r
            for r in rows
            if (kept.get(r.name, {}).get("state"), kept.get(r.name, {}).get("outcome")) != (state, "passed")
        ]
    image = built_image(None)
    made = samples(image)

    def one(row: Row) -> bool:
        begun = time.monotonic()
        complaints = _played(row, image, made)
        _keep(row, state, complaints)
        click.echo(f"{'not ok' if complaints else 'ok':6} {time.monotonic() - begun:5.0f} s  {row.name}")
        for complaint in complaints:
            click.echo(f"         {complaint}")
        return not complaints

    with ThreadPoolExecutor(jobs) as pool:
        passed = list(pool.map(one, rows))
    write_page(ROWS, _results())
    click.echo(f"{sum(passed)} of {len(passed)} rows passed")
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
