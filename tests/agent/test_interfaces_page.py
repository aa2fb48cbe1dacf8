"""docs/interfaces.md says what the agent says and writes: each key, status and marker, and none that there is not."""

import ast
import json
import os
import re
import socket
import threading
import typing
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from lab import interfaces
from lab.interfaces import promised, prose, rows, tables
from lvpack_agent import main, places
from lvpack_agent.errors import LvpackError
from lvpack_agent.inplace import run as inplace
from lvpack_agent.inplace import steps
from lvpack_agent.jsonform import to_json
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm import tags
from lvpack_agent.notify import notices
from lvpack_agent.processes import Completed
from lvpack_agent.progress import TICK_SECONDS
from lvpack_agent.report import RESULT_MARK, Report, Sizes, Timings
from lvpack_agent.session import SILENCE_SECONDS, Session
from tests.agent.builders.machine import Machine, only_result
from tests.agent.builders.sets import SET, write_set

AGENT = Path(main.__file__).parent
START_AGENT = Path(__file__).parents[2] / "elements/lvpack-boot/static/usr/lib/lvpack/start-agent"
JSON = {"string": str, "object": dict, "array": list}


def sources() -> str:
    """Return the agent's own text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(AGENT.rglob("*.py")))


def result(report: Report) -> dict[str, object]:
    found = json.loads(report.line().removeprefix(RESULT_MARK))
    assert isinstance(found, dict)
    return found


def test_each_key_of_a_result_and_its_type() -> None:
    said, page = result(Report(status="ok", action="", message="")), rows("The result line")
    assert said.keys() == page.keys()
    assert {key: type(value) for key, value in said.items()} == {
        key: JSON[cells[0].split()[0]] for key, cells in page.items()
    }
    assert f"the mark `{RESULT_MARK}`" in prose()


def test_each_status() -> None:
    def below(kind: type[LvpackError]) -> Iterator[type[LvpackError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    ended = Report(status="ok", action="", message="").status
    assert {ended, *(kind.status for kind in below(LvpackError))} == rows("Status").keys()


@pytest.mark.parametrize("kind", [Sizes, Timings])
def test_each_size_and_each_phase(kind: type[Sizes] | type[Timings]) -> None:
    known = kind(**dict.fromkeys((field.name for field in fields(kind)), 1))
    assert to_json(known).keys() == rows(kind.__name__).keys()
    assert to_json(kind()) == {}


def test_each_phase_that_is_begun_has_a_time_and_a_marker() -> None:
    begun = set(re.findall(r"\.phase\(\"([^\"]+)\"\)", sources())) | set(inplace.PHASES.values()) | {"shrink", "regrow"}
    assert begun == {field.name for field in fields(Timings)}
    said: list[str] = []
    session = Session(action="", out=said.append)
    for name in begun:
        with session.phase(name):
            pass
    assert set(said) == {f"== {key}" for key in rows("Timings")}
    assert to_json(session.timings).keys() == rows("Timings").keys()


def test_each_size_is_measured() -> None:
    calls = [node for node in ast.walk(ast.parse(sources())) if isinstance(node, ast.Call)]
    measured = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "measured"]
    assert {keyword.arg for call in measured for keyword in call.keywords} == rows("Sizes").keys()


@pytest.mark.parametrize("heading", ["Sizes", "Timings"])
def test_each_cell_is_a_promise(heading: str) -> None:
    kinds = tables()[heading][0][1:-1]
    assert kinds == ["backup", "in place", "plan", "restore", "restore plan", "verify"]
    assert {when for kind in kinds for when in promised(heading, kind).values()} == {interfaces.ALWAYS, interfaces.MAY}
    for key in rows(heading):
        assert any(key in promised(heading, kind) for kind in kinds), f"'{key}' is in no result"


def test_what_the_shell_script_says() -> None:
    [text] = re.findall(r"LVPACK-RESULT: (\{.*?\})", START_AGENT.read_text())
    [page] = re.findall(r"a shell script says the line: it has (.*?) only", prose())
    assert list(json.loads(text)) == re.findall(r"`(\w+)`", page)


def test_each_key_of_what_a_receiver_gets() -> None:
    report = Report(status="ok", action="", message="")
    began, ended = notices.started(Session(action="", out=print)), notices.result(report)
    page = rows("What a receiver gets")
    assert began.keys() == {key for key, cells in page.items() if cells[0]}
    assert ended.keys() - result(report).keys() == {key for key, cells in page.items() if cells[1] == "yes"}
    assert {key for key, cells in page.items() if cells[1] == "as there"} <= result(report).keys()
    assert result(report).items() <= ended.items()
    assert [began["event"], ended["event"]] == ["started", "result"]
    for key, cells in page.items():
        assert type(began[key]) is type(ended[key]) is JSON[cells[2]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.made(tmp_path)


def verify(machine: Machine, *arguments: str) -> Completed:
    """Run lvpack.action=verify on a set of a share that is mounted by a copy, with firmware that is missing."""
    share = machine.folder / "share"
    share.mkdir()
    write_set(share / SET)
    machine.program("dmesg", "echo 'e100 0000:00:02.0: firmware: failed to load e100/x.bin (-2)'")
    machine.program("modprobe", "exit 0")
    mounted = f"echo 1 1 0:42 / $2 rw > {machine.folder}/mountinfo"
    machine.program("mount.nfs", f'/bin/cp -r {share}/. "$2"; {mounted}')
    machine.program("umount", "exit 0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"nfs://127.0.0.1:{server.getsockname()[1]}/srv/{SET}"
        words = f"ip=off lvpack.action=verify lvpack.source={url}"
        return machine.boot(words.encode(), *(word.format(words) for word in arguments))


def pattern(marker: str) -> str:
    """Return a regular expression for a marker of the page: words in capitals stand for any text."""
    words = {"MESSAGE": ".+", "JSON": r"\{.*\}", "STATUS": f"({'|'.join(rows('Status'))})", "WHAT": r"\w+"}
    words |= {"PHASE": f"({'|'.join(rows('Timings'))})", "STEP": f"({'|'.join(rows('Steps'))}) .+"}
    return re.sub(r"[A-Z]{4,}", lambda word: words.get(word[0], r"\S.*"), re.escape(marker).replace(r"\ ", " "))


def seen_in(text: str) -> set[str]:
    """Return the markers of the page that a console's text has at the start of a line."""
    markers = [marker.replace("LVPACK-RESULT", "\0") for marker in rows("Console markers")]
    lines = [line.strip("\r").replace("LVPACK-RESULT", "\0") for line in text.split("\n")]
    found = {m for m in markers if any(re.match(pattern(m), line) for line in lines)}
    return {marker.replace("\0", "LVPACK-RESULT") for marker in found}


RUN_MARKERS = {
    "lvpack VERSION",
    "action: ACTION",
    "== PHASE",
    "warning: TEXT",
    "STATUS: MESSAGE",
    "LVPACK-RESULT: JSON",
    "then: WHAT",
}
SHELLS, MENU = "a root shell on every console", "your choice, then Enter:"
IN_PLACE = {"-- STEP", "resume: TEXT"}


@pytest.mark.starts_processes
def test_a_run_says_its_markers_and_what_it_promises(machine: Machine) -> None:
    ended = verify(machine)
    report = only_result(ended)
    assert (report.status, report.action, report.name) == ("ok", "verify", SET), ended.stdout + ended.stderr
    assert seen_in(ended.stdout) == RUN_MARKERS
    interfaces.check_result(report, ())
    assert result(report)["timings"] and report.warnings
    log = (machine.folder / "run/agent.log").read_text()
    assert all(re.match(r"\[ *\d+\.\d\d\] ", line) for line in log.splitlines())
    assert [line.partition("] ")[2] for line in log.splitlines()] == ended.stdout.splitlines()
    assert {str(places.RUN / name) for name in rows("Files in the live image")} == {str(places.LOG)}
    assert f"In `{places.RUN}`" in prose()


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("words", "marker"), [(b"lvpack.action=shell", SHELLS), (b"quiet", MENU)], ids=["shell", "menu"]
)
def test_what_waits_for_people_says_so_on_every_console(machine: Machine, words: bytes, marker: str) -> None:
    ours, its = os.openpty()
    (machine.folder / "active").write_text(str(Path(os.ttyname(its)).relative_to("/dev")))
    machine.program("setsid", "exit 0")
    said = bytearray()

    def listen() -> None:
        while marker.encode() not in said:
            said.extend(os.read(ours, 4096))
        os.close(its)
        os.close(ours)  # hung up: nobody is there any more

    listener = threading.Thread(target=listen)
    listener.start()
    ended = machine.boot(words)
    listener.join()
    assert ended.status == 0 and RESULT_MARK not in ended.stdout + said.decode()
    assert seen_in(said.decode()) == {"lvpack VERSION", marker}


def test_no_marker_is_unheard() -> None:
    assert RUN_MARKERS | IN_PLACE | {SHELLS, MENU} == rows("Console markers").keys()
    assert "a line comes at least each five seconds" in prose() and SILENCE_SECONDS + TICK_SECONDS < 5
    assert '"resume: ' in sources() and 'f"-- {step}"' in sources()


def test_each_step() -> None:
    swap, content = Content(type="swap", size=1), Content(type="ext4", size=2)
    said: tuple[steps.Step, ...] = (
        steps.MarkVg(on=True),
        steps.MarkVg(on=False),
        steps.ResizeFilesystem(name="LV root", old=content, new=replace(content, size=1)),
        steps.ResizeFilesystem(name="LV root", old=content, new=content),
        steps.MakeSwap(name="LV swap", lv="", new=swap),
        steps.ReduceLv(name="LV root", lv="", extents=1, content=content),
        steps.ExtendLv(name="LV root", lv="", segment=Segment(le=0, pv="", pe=0, count=1)),
        steps.MoveExtents(move=Move(pv="", source=1, target=0, count=1)),
        steps.RemoveArea(),
        steps.ResizePv(extents=1),
        steps.AddArea(area=MetadataArea(start=0, size=1)),
        steps.WriteTable(table=PartitionTable(label="dos", id="", partitions=()), size=1),
    )
    assert {type(step) for step in said} == set(typing.get_args(steps.Step))
    beside = set(re.findall(r"f\"-- ([a-z-]+) ", sources()))
    assert {str(step).split()[0] for step in said} | beside == rows("Steps").keys()
    assert f"`{tags.TAG}`" in prose() and f"`{tags.MERGE_TAG}TOKEN`" in prose()


@pytest.mark.starts_processes
def test_each_exit_status_of_the_agent(machine: Machine) -> None:
    statuses = {
        "ok": verify(machine, "--cmdline", "{}").status,
        "menu": machine.boot(b"quiet").status,
        "shells": machine.boot(b"lvpack.action=shell").status,
        "refused": machine.boot(b"", "--cmdline", "lvpack.colour=red").status,
        "failed": machine.boot(b"", "--cmdline", "lvpack.action=plan").status,
        "arguments": machine.boot(b"", "--colour").status,
    }
    assert list(statuses.values()) == [0, 0, 0, 1, 1, 2]
    assert {str(status) for status in statuses.values()} == rows("Exit status of the agent").keys()
