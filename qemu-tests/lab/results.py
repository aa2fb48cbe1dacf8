"""What ran when and how long: kept in the cache, so that a long run of tests can be stopped and gone on with.

A pytest plugin. `--go-on` leaves out the tests that have passed with the very files that are there now; those that
failed run again. At the end there is a table of all of them.
"""

import hashlib
import json
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from lvpack_agent.errors import LvpackError
from lvpack_agent.processes import run
from lvpack_builder.paths import cache_dir, locked

FILE = "test-results.json"
# The checkout.
ROOT = Path(__file__).resolve().parents[2]
CPU = "cpu seconds"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a test ended: state is that of the files that it ran with (see state()), date that of its end.

    seconds of wall clock and cpu of processor time are those of the test and of the fixtures that it was the first to
    need; cpu counts the virtual machines, which are processes of the test.
    """

    state: str
    date: str
    outcome: str
    seconds: float
    cpu: float


def state(root: Path) -> str:
    """Return the commit of a checkout, and a hash of what was changed in it since, if anything was.

    Without git, or in no checkout, it is UNKNOWN, and no two such states are the same.
    """
    try:
        commit = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root).stdout.strip()
    except LvpackError:
        return UNKNOWN
    changed = run(["git", "diff", "HEAD"], cwd=root).stdout
    new = run(["git", "ls-files", "--others", "--exclude-standard", "-z"], cwd=root).stdout
    for name in new.split("\0")[:-1]:
        with suppress(FileNotFoundError):  # something makes files there just now
            changed += f"{name} {hashlib.sha256((root / name).read_bytes()).hexdigest()}\n"
    return commit + (f"+{hashlib.sha256(changed.encode()).hexdigest()[:8]}" if changed else "")


def read(path: Path) -> dict[str, Result]:
    """Return the results in a file, by the tests' names; none if there is no such file."""
    if not path.exists():
        return {}
    return {name: Result(**row) for name, row in json.loads(path.read_text()).items()}


def write(path: Path, results: dict[str, Result]) -> None:
    """Write results to a file, as a whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({name: asdict(row) for name, row in results.items()}, indent=1))
    partial.replace(path)


def table(results: dict[str, Result], state: str) -> list[str]:
    """Return the lines that say what ran with the files of this state, in the order in which it ended."""
    rows = sorted((row.date, name, row) for name, row in results.items() if row.state == state)
    lines = [f"{date}  {row.outcome:7}  {row.seconds:6.0f} s  {row.cpu:6.0f} s CPU  {name}" for date, name, row in rows]
    failed = [name for _, name, row in rows if row.outcome == "failed"]
    seconds, cpu = sum(row.seconds for _, _, row in rows), sum(row.cpu for _, _, row in rows)
    end = f"{len(rows)} tests at {state}: {len(failed)} failed; {seconds:.0f} s one after the other, {cpu:.0f} s CPU"
    return [*lines, end]


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Recorder:
    """The plugin. Under pytest-xdist the workers measure, and the process that they report to writes the file."""

    def __init__(self, config: pytest.Config) -> None:
        self._go_on = bool(config.getoption("--go-on"))
        self._writes = not hasattr(config, "workerinput")
        self._path = cache_dir() / FILE
        self._state = state(ROOT)
        self._seconds: dict[str, float] = {}
        self._cpu: dict[str, float] = {}
        self._outcome: dict[str, str] = {}
        self._used = _cpu()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if not self._go_on or self._state == UNKNOWN:
            return
        done = {n for n, row in read(self._path).items() if row.state == self._state and row.outcome == "passed"}
        if left_out := [item for item in items if item.nodeid in done]:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item.nodeid not in done]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        used = _cpu()
        report: pytest.TestReport = yield  # type: ignore[assignment]
        report.user_properties.append((CPU, used - self._used))
        self._used = used
        return report  # type: ignore[return-value]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not self._writes:
            return
        name = report.nodeid.partition("@")[0]  # then comes the group, under pytest-xdist
        self._seconds[name] = self._seconds.get(name, 0.0) + report.duration
        used = sum(float(str(value)) for key, value in report.user_properties if key == CPU)
        self._cpu[name] = self._cpu.get(name, 0.0) + used
        if report.outcome != "passed":
            self._outcome[name] = report.outcome
        if report.when == "teardown":
            result = Result(
                state=self._state,
                date=time.strftime("%F %T"),
                outcome=self._outcome.get(name, "passed"),
                seconds=round(self._seconds[name], 1),
                cpu=round(self._cpu[name], 1),
            )
            # Another run, of another checkout, may have the same cache.
            with locked(FILE):
                write(self._path, {**read(self._path), name: result})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("what ran with these files")
        for line in table(read(self._path), self._state):
            terminalreporter.write_line(line)
