"""The benchmark's results as a page and a plot."""

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib import pyplot as plt

from lvpack_agent.sizes import MIB

Row = dict[str, Any]
# Phases that a disk which is packed as it is would not need.
SHRINK = ("shrink", "compact")
PEERS = ("partclone + zstd", "fsarchiver", "tar + zstd", "dd + gzip")
TEMPLATE = Path(__file__).with_name("benchmark.md.j2")


def medians(rows: list[Row]) -> dict[str, Row]:
    """Return for each name the medians of its numbers over all rounds, in the order of the first round.

    What ran before the first round, to warm up, is left out.
    """
    by_name: defaultdict[str, list[Row]] = defaultdict(list)
    for row in (row for row in rows if row["round"] >= 0):
        by_name[row["name"]].append(row)
    return {name: _median(found) for name, found in by_name.items()}


def _median(rows: list[Row]) -> Row:
    last = rows[-1]
    found = {key: median(row[key] for row in rows) for key, value in last.items() if isinstance(value, int | float)}
    found |= {key: value for key, value in last.items() if isinstance(value, str)}
    for key in ("timings", "sizes"):
        if key in last:
            found[key] = {name: median(row[key].get(name, 0) for row in rows) for name in last[key]}
    found["shrink"] = sum(found.get("timings", {}).get(phase, 0) for phase in SHRINK)
    found["least"], found["most"] = min(row["wall"] for row in rows), max(row["wall"] for row in rows)
    return found


def bars(tables: dict[str, dict[str, Row]]) -> list[tuple[str, float, float]]:
    """Return what is measured against a bar: what it is, its value, the bar; below it is good."""
    race, scale = tables["race"], tables["scale"]
    lvpack, floor = race["lvpack"], race["floor"]
    best = min(race[name]["wall"] for name in PEERS)
    smallest, *_, largest = (row["wall"] for name, row in scale.items() if name.startswith("lvpack"))
    rows = (row for part in tables.values() for name, row in part.items() if "timings" in row)
    return [
        ("seconds / (1.1 x floor + shrink, compact)", lvpack["wall"] / (1.1 * floor["wall"] + lvpack["shrink"]), 1),
        ("seconds / best of the others", lvpack["wall"] / best, 0.8),
        ("bytes stored / floor", lvpack["stored"] / floor["stored"], 1.02),
        ("seconds, largest disk / smallest disk", largest / smallest, 1.5),
        ("peak memory of the agent, MiB", max(row["memory_first"] for row in rows) / MIB, 96),
    ]


def write(results: dict[str, Any], docs: Path) -> None:
    """Write docs/benchmark.md and docs/benchmark.svg."""
    tables = {what: medians(found["rows"]) for what, found in results.items()}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["mib"] = lambda count: f"{count / MIB:,.1f}"
    text = environment.from_string(TEMPLATE.read_text()).render(
        tables, bars=bars(tables), about=results["race"]["about"]
    )
    (docs / "benchmark.md").write_text(text)
    _plot(tables, docs / "benchmark.svg")


def _plot(tables: dict[str, dict[str, Row]], path: Path) -> None:
    mpl.rcParams |= {"svg.hashsalt": "lvpack", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    figure, (times, sizes, scale) = plt.subplots(
        3, 1, figsize=(8, 8.5), layout="constrained", height_ratios=(3, 2, 1.5)
    )
    race = tables["race"]
    names = list(race)[::-1]
    backups = [name for name in names if not name.startswith("restore")]
    for axes, key, unit, shown in ((times, "wall", "seconds", names), (sizes, "stored", "MiB stored", backups)):
        values = [race[name][key] / (MIB if key == "stored" else 1) for name in shown]
        colours = ["tab:blue" if "lvpack" in name else "tab:grey" for name in shown]
        axes.bar_label(axes.barh(shown, values, color=colours), fmt="%.0f", padding=3)
        axes.set_xlabel(f"{unit} (median)")
    times.barh(
        names, [race[name]["shrink"] for name in names], color="lightsteelblue", label="of it shrink and compact"
    )
    times.legend(loc="lower right")
    labels = [row["disk"] for name, row in tables["scale"].items() if name.startswith("lvpack")]
    for kind, colour in (("lvpack", "tab:blue"), ("floor", "tab:grey")):
        seconds = [tables["scale"][f"{kind} {label}"]["wall"] for label in labels]
        scale.plot(labels, seconds, marker="o", color=colour, label=kind)
    scale.set_ylim(0)
    scale.set_ylabel("seconds")
    scale.set_xlabel("disk with the same 1 GiB of files")
    scale.legend()
    figure.savefig(path, metadata={"Date": None})
