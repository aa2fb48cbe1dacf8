"""`lvpack list` of a folder: what is a row, what a bad thing says, and the three forms."""

import json
import os
import re
import time
from calendar import timegm
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.interfaces import prose, rows
from lvpack_agent.backup.clock import DAY
from lvpack_agent.printable import printable
from lvpack_agent.report import Report
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.stored import Source, Stored
from lvpack_agent.sizes import GIB, MIB
from lvpack_builder.cli.main import main
from lvpack_builder.sets import place
from lvpack_builder.sets.listed import SCHEMA, WIDTH, age, as_json, as_table
from lvpack_builder.sets.listing import listing
from lvpack_builder.sets.metrics import LISTED, METRICS, as_metrics
from lvpack_builder.sets.naming import machine_of
from lvpack_builder.sets.rows import BAD, COMPLETE, UNFINISHED, Listing, LogRow, SetRow
from tests.agent.builders.oddities import ODD_JSON, spoil
from tests.agent.builders.sets import SIZE
from tests.builder.builders import MADE, put_log, put_set

PAGE = Path(__file__).parents[2] / "docs/list.md"
NOW = 1_579_075_200  # 2020-01-15 08:00
# A line of Prometheus's text format: name, labels, value.
SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\} (\d+)')


def listed(share: Path) -> Listing:
    return listing(Share(name=str(share), folder=share), NOW)


def test_the_sets_of_a_share_are_rows_by_machine_with_the_newest_first(tmp_path: Path) -> None:
    machine = {"sys_vendor": "Acme", "product_name": "Anvil", "product_uuid": "U"}
    put_set(tmp_path, "web1-20200112T080000Z", machine=machine, warnings=("a", "b"))
    put_set(tmp_path, "web1-20200114T080000Z", created="2020-01-14T08:00:00Z")
    put_set(tmp_path, "db-monday", created="2020-01-15T07:30:00Z")
    put_log(tmp_path, "web1-20200113T080000Z", "2020-01-13T08:00:00Z")
    (tmp_path / "db-20200115T070000Z.partial").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/disk.img.zst").touch()
    for other in ("isos", ".hidden", "lost+found", "inplace-U-D"):
        (tmp_path / other).mkdir()
        (tmp_path / other / "journal.json").touch()
    for name in ("README", "other.failed.log", "not.partial"):
        (tmp_path / name).write_text("of somebody\n")
    found = listed(tmp_path)
    assert [(row.machine, row.name, row.state) for row in found.sets] == [
        ("cut", "cut", UNFINISHED),
        ("db", "db-20200115T070000Z.partial", UNFINISHED),
        ("db-monday", "db-monday", COMPLETE),
        ("web1", "web1-20200114T080000Z", COMPLETE),
        ("web1", "web1-20200112T080000Z", COMPLETE),
    ]
    assert [(log.machine, log.status, log.message) for log in found.failed] == [
        ("web1", "failed", "cannot shrink LV 'root': no")
    ]
    table = as_table(found)
    assert table.splitlines() == [
        "  image set                         made (UTC)           age      disk    packed    stored",
        "cut",
        "  cut                               -                      -         -         -         -",
        "      unfinished: it has no manifest.json",
        "db",
        "  db-20200115T070000Z.partial       2020-01-15 07:00  60 min         -         -         -",
        "      unfinished: a backup is at work, or was cut off",
        "db-monday",
        "  db-monday                         2020-01-15 07:30  30 min  4.00 KiB  4.00 KiB  4.00 KiB",
        "web1 (Acme Anvil)",
        "  web1-20200114T080000Z             2020-01-14 08:00    24 h  4.00 KiB  4.00 KiB  4.00 KiB",
        "  web1-20200112T080000Z             2020-01-12 08:00     3 d  4.00 KiB  4.00 KiB  4.00 KiB",
        "      warning: a",
        "      warning: b",
        "  web1-20200113T080000Z.failed.log  2020-01-13 08:00     2 d",
        "      failed: cannot shrink LV 'root': no",
        "",
        "3 image sets of 4 machines, 12.0 KiB stored; 2 unfinished, 1 failed log",
    ]
    assert max(map(len, table.splitlines())) <= WIDTH


@pytest.mark.parametrize(("kind", "cause"), ODD_JSON.items())
def test_whatever_stands_for_a_manifest_is_a_row(tmp_path: Path, kind: str, cause: str) -> None:
    put_set(tmp_path, "good")
    put_set(tmp_path, "bad")
    spoil(tmp_path / "bad/manifest.json", kind)
    bad, good = listed(tmp_path).sets
    assert (bad.state, good.state) == (BAD, COMPLETE)
    assert cause in bad.cause and not bad.cause.startswith("cannot")
    assert cause in as_table(listed(tmp_path)).replace("\n        ", " ")


def test_lies_are_rows_that_say_so(tmp_path: Path) -> None:
    made = put_set(tmp_path, "a-longer")
    (tmp_path / "a-longer/disk.img").write_bytes(bytes(SIZE + 1))
    put_set(tmp_path, "b-no-image")
    (tmp_path / "b-no-image/disk.img").unlink()
    put_set(tmp_path, "c-fifo")
    (tmp_path / "c-fifo/disk.img").unlink()
    os.mkfifo(tmp_path / "c-fifo/disk.img")
    put_set(tmp_path, "d-negative", checksums=replace(made.checksums, raw_size=-5))
    put_set(tmp_path, "e-schema", schema=9)
    put_set(tmp_path, "f-leads-out", image="../../disk.img")
    put_set(tmp_path, "g-to-come", created="2099-01-01T00:00:00Z")
    put_set(tmp_path, "h-no-date", created="today")
    causes = [row.cause for row in listed(tmp_path).sets]
    assert causes == [
        "disk.img has 4,097 bytes, not 4,096",
        "disk.img: No such file or directory",
        "disk.img: it is a FIFO, not a file",
        "manifest.json has disk.img with -5 bytes as an image, 4,096 as a disk and 4,096 in the plan",
        "its schema is 9, not 1 or 2",
        "manifest.json has an image '../../disk.img', which is no name of one",
        "",
        "",
    ]
    *_, to_come, no_date = listed(tmp_path).sets
    assert (to_come.created, no_date.created) == (None, None)
    assert "which is to come" in to_come.warnings[0] and "'today'" in no_date.warnings[0]
    assert "lvpack_newest_set_timestamp_seconds" not in as_metrics(listed(tmp_path)), "no alert is silenced by it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking(Share):
    """A folder of which some things cannot be read, by the error that each has."""

    errors: dict[str, OSError] = field(default_factory=dict)

    def _source(self) -> Source:
        before = Share._source(self)

        def found(path: Path, limit: int | None = None, top: Path | None = None) -> Stored:
            self.look(path)
            self.look(path.parent)
            return before(path, limit, top)

        return found

    def names_in(self, folder: Path) -> list[str]:
        self.look(folder)
        return Share.names_in(self, folder)

    def look(self, path: Path) -> None:
        if error := self.errors.get(path.relative_to(self.folder).as_posix()):
            raise error


def test_what_cannot_be_read_is_bad_only_if_it_is_a_set(tmp_path: Path) -> None:
    """An alert fires for bad sets: somebody else's folder is none, nor a file whose manifest a web server fails at."""
    denied, broken = PermissionError(13, "Permission denied"), OSError(5, "the server says: 500 Oops")
    stamped, running = "web1-20200112T080000Z", "web1-20200114T080000Z.partial"
    for name in ("private", "movie.partial", stamped, running):
        (tmp_path / name).mkdir()
    for name in ("odd.txt", "db-20200114T080000Z"):
        (tmp_path / name).touch()
    put_set(tmp_path, "locked")
    put_set(tmp_path, "sick")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/manifest.json").touch()
    errors = {
        **dict.fromkeys(("private", "movie.partial", stamped, running), denied),
        **dict.fromkeys(("locked/manifest.json", "other/manifest.json"), denied),
        **dict.fromkeys(("odd.txt", "db-20200114T080000Z", "sick/manifest.json"), broken),
    }
    found = listing(Breaking(name="x", folder=tmp_path, errors=errors), NOW)
    assert [(row.name, row.state, row.cause) for row in found.sets] == [
        ("db-20200114T080000Z", BAD, "manifest.json: the server says: 500 Oops"),
        ("locked", BAD, "manifest.json: Permission denied"),
        ("sick", BAD, "manifest.json: the server says: 500 Oops"),
        (running, UNFINISHED, "it cannot be read: Permission denied"),
        (stamped, BAD, "manifest.json: Permission denied"),
    ]


def test_what_is_unfinished_or_bad_has_no_date_that_is_to_come(tmp_path: Path) -> None:
    (tmp_path / "web1-20990101T000000Z.partial").mkdir()
    put_set(tmp_path, "web1-20990102T000000Z")
    spoil(tmp_path / "web1-20990102T000000Z/manifest.json", "deep")
    put_set(tmp_path, "web1-20200112T080000Z")
    found = [(row.state, row.created) for row in listed(tmp_path).sets]
    assert found == [(COMPLETE, NOW - 3 * DAY), (UNFINISHED, None), (BAD, None)]


def test_logs_that_are_odd_are_rows(tmp_path: Path) -> None:
    put_log(tmp_path, "cut", result="{")
    put_log(tmp_path, "deep", result=f"LVPACK-RESULT: {'[' * 100_000}")
    put_log(tmp_path, "later", "2099-01-01T00:00:00Z")
    os.mkfifo(tmp_path / "fifo.failed.log")
    found = {log.name: log for log in listed(tmp_path).failed}
    assert {name: log.cause for name, log in found.items()} == {
        "cut": "it ends without a result line",
        "deep": "it ends without a result line",
        "later": "",
        "fifo": "it is a FIFO, not a file",
    }
    assert found["later"].ended is None


def test_what_somebody_else_has_written_steers_no_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\nweb1\u202e"
    put_set(tmp_path, "x" + evil.replace("/", ""), warnings=(evil * 2,), machine={"sys_vendor": evil}, lvpack=evil)
    put_log(tmp_path, "y" + evil, result=Report(status=evil, action="", message=evil).line())
    found = listed(tmp_path)
    for text in (as_table(found), as_json(found), as_metrics(found)):
        assert all(line == printable(line) for line in text.splitlines()), text
        assert "owned" in text
    assert "warning: " in as_table(found)


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("web1-20200112T080000Z", "web1"),
        ("web1-20200112T080000Z-2", "web1"),
        ("web1-20200112T080000Z.partial", "web1"),
        ("web1-20200112T080000Z.again", "web1"),
        ("web1-20200112T080000Z.again-20200112T090000Z", "web1"),
        ("web1", "web1"),
        ("web1-monday", "web1-monday"),
        ("-20200112T080000Z", ""),
    ],
)
def test_what_a_machine_is_called(name: str, machine: str) -> None:
    assert machine_of(name) == machine


def test_how_long_ago() -> None:
    assert [age(s) for s in (-5, 59, 89 * 60, 90 * 60, 47 * 3600, 48 * 3600, 400 * DAY)] == [
        *("0 min", "0 min", "89 min", "1 h", "47 h", "2 d", "400 d"),
    ]


def put_all(share: Path) -> Listing:
    """Put one of each kind on a share."""
    put_set(share, "web1-20200112T080000Z", warnings=('a "quoted" \\ one',))
    put_set(share, "web1-20200110T080000Z", created="2020-01-10T08:00:00Z")
    put_set(share, "bad")
    spoil(share / "bad/manifest.json", "deep")
    (share / "web1-20200115T070000Z.partial").mkdir()
    put_log(share, "web1-20200114T080000Z")
    return listed(share)


def test_the_json_form_is_what_the_page_of_interfaces_says(tmp_path: Path) -> None:
    form = json.loads(as_json(put_all(tmp_path)))
    assert form.keys() == rows("The list").keys()
    assert form["schema"] == SCHEMA and f"`schema` is {SCHEMA}" in prose()
    assert form["time"] == "2020-01-15T08:00:00Z"
    for row in form["sets"]:
        assert row.keys() == rows("A listed set").keys()
    assert {row["state"] for row in form["sets"]} == rows("State of a listed set").keys()
    [log] = form["failed"]
    assert log.keys() == rows("A failed log").keys()
    assert log["age"] == DAY and log["ended"] == "2020-01-14T08:00:00Z"
    newest = next(row for row in form["sets"] if row["name"] == "web1-20200112T080000Z")
    assert newest["created"] == MADE and newest["age"] == 3 * DAY and newest["stored"] == SIZE


def test_the_metrics_are_what_the_page_of_interfaces_says(tmp_path: Path) -> None:
    text = as_metrics(put_all(tmp_path))
    page = rows("Metrics")
    assert [LISTED, *(metric.name for metric in METRICS)] == list(page)
    found: dict[str, dict[str, int]] = {}
    kinds: dict[str, str] = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            kinds |= {name: rest} if word == "TYPE" else {}
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample and sample[1] in kinds, f"HELP and TYPE come first: {line}"
        machine = re.search(r'machine="([^"]*)"', sample[2])
        found.setdefault(sample[1], {})[machine[1] if machine else ""] = int(sample[3])
    assert found.keys() == page.keys() and set(kinds.values()) == {"gauge"}
    assert found["lvpack_sets"] == {"bad": 0, "web1": 2}
    assert found["lvpack_bad_sets"] == {"bad": 1, "web1": 0}
    assert found["lvpack_unfinished_sets"]["web1"] == 1 and found["lvpack_failed_logs"]["web1"] == 1
    assert found["lvpack_newest_set_timestamp_seconds"] == {"web1": NOW - 3 * DAY}
    assert found["lvpack_newest_failed_log_timestamp_seconds"] == {"web1": NOW - DAY}
    assert found["lvpack_newest_set_warnings"] == {"web1": 1}
    assert found["lvpack_stored_bytes"]["web1"] == 2 * SIZE
    assert found[LISTED] == {"": NOW}


def test_labels_are_escaped(tmp_path: Path) -> None:
    put_set(tmp_path, 'a"b\\c\nd')
    assert 'machine="a\\"b\\\\c\\\\x0ad"' in as_metrics(listed(tmp_path))


def test_the_list_on_the_page_is_what_is_printed() -> None:
    machine, at = "web1", int(timegm((2026, 11, 28, 7, 10, 0)))

    def row(name: str, stored: int, age: float, *warnings: str) -> SetRow:
        return SetRow(
            name=name,
            state=COMPLETE,
            machine=machine,
            created=int(at - age),
            model="Acme Anvil",
            warnings=warnings,
            source_disk=12 * GIB,
            packed_disk=994 * MIB,
            stored=stored * MIB,
        )

    failed = LogRow(
        file="web1-20261125T210311Z.failed.log",
        name="web1-20261125T210311Z",
        machine=machine,
        ended=at - 58 * 3600 - 6 * 60,
        status="failed",
        message="cannot reach share 'nfs://nas/sets': it did not answer for 10 min",
    )
    minutes = 10 * 60 + 7
    sets = (
        row("web1-20261127T210315Z", 412, minutes * 60, "the share did not answer for 2 min; the run went on"),
        row("web1-20261126T210309Z", 411, minutes * 60 + DAY),
    )
    printed = as_table(Listing(share="x", now=at, sets=sets, failed=(failed,)))
    assert f"```\n{printed}\n```\n" in PAGE.read_text(), f"put this into docs/list.md:\n{printed}"


def invoke(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(main, ["list", *words])
    return answer.exit_code, answer.output


@pytest.mark.parametrize(
    ("url", "secret"), [("sftp://u@127.0.0.1:1/x", "ssh-key"), ("https://127.0.0.1:1/x", "client-cert")]
)
def test_a_key_is_in_memory_or_nowhere(url: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(place, "SHARED_MEMORY", str(tmp_path / "none"))
    monkeypatch.setattr("lvpack_agent.shares.mounted.REACH_SECONDS", 0)
    (tmp_path / "key").write_text("a key")
    status, said = invoke(url, "--secret", f"{secret}={tmp_path / 'key'}")
    assert status == 2 and f"there is no folder in memory for secret '{secret}'" in said and "XDG_RUNTIME_DIR" in said
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "cannot reach share" in invoke(url, "--secret", f"{secret}={tmp_path / 'key'}")[1]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert "cannot reach share" in invoke("http://127.0.0.1:1/x")[1], "nothing of that one is in a file"


def test_a_list_of_nothing_has_a_rule_that_fires(tmp_path: Path) -> None:
    """A mount that is not there after a boot leaves an empty folder: all series but one vanish, and no other rule has
    anything to compare."""
    samples = [line for line in as_metrics(listed(tmp_path)).splitlines() if not line.startswith("#")]
    assert [line.partition("{")[0] for line in samples] == [LISTED]
    assert f"expr: {LISTED} unless on (share) {METRICS[0].name}\n" in PAGE.read_text()
    assert METRICS[0].name == "lvpack_sets"


def test_the_command(tmp_path: Path) -> None:
    assert invoke(str(tmp_path)) == (0, f"no image sets at {tmp_path}\n")
    put_set(tmp_path, "one", created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    assert "0 min" in invoke(str(tmp_path))[1]
    assert json.loads(invoke(str(tmp_path), "--json")[1])["share"] == str(tmp_path)
    assert invoke(str(tmp_path), "--metrics")[1].startswith(f"# HELP {LISTED} ")
    for words, cause in (
        ([str(tmp_path), "--json", "--metrics"], "as JSON and as metrics at once"),
        ([str(tmp_path / "one")], "it is an image set"),
        ([str(tmp_path), "-a", "lvpack.share=path-style"], "there is no such share"),
        ([str(tmp_path), "-a", "lvpack.vg=x"], "cannot use option 'lvpack.vg=x' here"),
        ([str(tmp_path), "--secret", "x=y"], "cannot use secret 'x'"),
    ):
        status, said = invoke(*words)
        assert status == 2 and cause in said, said
    status, said = invoke(str(tmp_path / "nothing"))
    assert status == 1 and "No such file or directory" in said
