"""Whatever the command line holds and whatever happens: one result line, and what was asked for follows it."""

import os
import sys
from pathlib import Path

import pytest

from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK, parse_result
from tests.agent.builders.machine import AGENT, Machine, only_result

pytestmark = [pytest.mark.starts_processes, pytest.mark.timeout(60)]

DIGITS = b"9" * 400


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.made(tmp_path)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        (b"lvpack.name=b\xfcro", r"lvpack.name=b\xfcro"),
        (b"lvpack.b\xfcro=1", r"lvpack.b\xfcro"),
        (b"lvpack.target=nfs://h/b\xfcro", "lvpack.target="),
        (b"lvpack.margin=" + DIGITS, "lvpack.margin="),
        (b"lvpack.margin=" + DIGITS + b"%", "lvpack.margin="),
        (b"lvpack.margin=" + DIGITS + b".5%", "lvpack.margin="),
        (b"lvpack.config=nfs://h:99999/f", "lvpack.config=nfs://h:99999/f"),
        (b"lvpack.config=nfs://[1.2.3.4]/f", "lvpack.config=nfs://[1.2.3.4]/f"),
        (b"lvpack.config=nfs://a..b/f", "lvpack.config=nfs://a..b/f"),
        (b"lvpack.config=nfs://h/%00", "lvpack.config=nfs://h/%00"),
        (b"bond=bond0:eth0::" + DIGITS, "bond=bond0"),
        (b"ip=eth0:dhcp:" + DIGITS, "ip=eth0"),
        (b"vlan=v\xff" + DIGITS, "vlan=v"),
    ],
)
def test_a_broken_word_is_refused_by_name_and_onerror_follows(machine: Machine, word: bytes, named: str) -> None:
    ended = machine.boot(b"quiet lvpack.action=plan lvpack.onerror=poweroff " + word)
    report = only_result(ended)
    assert (report.status, ended.status) == ("refused", 1)
    assert named in report.message and report.hint
    assert machine.ended_by() == "poweroff -n -f\n"
    assert machine.said() == "poweroff\n"


def test_a_byte_of_somebody_else_is_no_matter(machine: Machine) -> None:
    machine.program("lsblk", """echo '{"blockdevices": []}'""")
    report = only_result(machine.boot(b"root=LABEL=b\xfcro lvpack.action=plan lvpack.onerror=halt"))
    assert report.message.startswith("cannot ") and report.action == "plan", report
    assert machine.ended_by() == "halt -n -f\n"


@pytest.mark.parametrize(
    ("lsblk", "cause"),
    [("kill -INT $PPID; /bin/sleep 9", "interrupted"), ("echo {", "JSONDecodeError"), ("kill -9 $$", "SIGKILL")],
)
def test_a_run_that_breaks_off_anyhow_has_a_result(machine: Machine, lsblk: str, cause: str) -> None:
    machine.program("lsblk", lsblk)
    report = only_result(machine.boot(b"lvpack.action=plan lvpack.onerror=reboot"))
    assert report.status == "failed" and cause in report.message, report
    assert machine.ended_by() == "reboot -n -f\n"


def test_a_command_line_that_cannot_be_read_is_a_result(machine: Machine) -> None:
    (machine.folder / "cmdline").mkdir()
    command = [sys.executable, "-c", AGENT, str(machine.folder)]
    report = only_result(run(command, env={"PATH": str(machine.folder / "bin")}, ok=(1,), timeout=30))
    assert report.status == "failed" and "IsADirectoryError" in report.message, report
    assert machine.said() == "shell\n"


def test_no_place_for_a_log_keeps_nobody_from_speaking(machine: Machine) -> None:
    (machine.folder / "run").touch()
    report = only_result(machine.boot(b"lvpack.colour=red lvpack.onerror=halt"))
    assert report.status == "failed" and "FileExistsError" in report.message, report
    assert machine.ended_by() == "halt -n -f\n"


def test_what_should_follow_is_kept_for_start_agent_if_it_fails(machine: Machine) -> None:
    machine.program("busybox", "exit 1")
    ended = machine.boot(b"lvpack.colour=red lvpack.onerror=halt")
    assert only_result(ended).status == "refused"
    assert "cannot run 'busybox halt -n -f'" in ended.stderr
    assert machine.said() == "halt\n"


@pytest.mark.parametrize(
    ("status", "how"), [("137", "SIGKILL"), ("1", "ended with 1"), ("0", "ended with 0"), ("255", "ended with 255")]
)
def test_the_second_agent_speaks_for_the_first(machine: Machine, status: str, how: str) -> None:
    report = only_result(machine.boot(b"lvpack.margin=\xff lvpack.onerror=reboot", "--died", status))
    assert report.status == "failed" and how in report.message, report
    assert (machine.ended_by(), machine.said()) == ("reboot -n -f\n", "reboot\n")


def test_the_second_agent_leaves_the_log_of_a_backup_that_was_killed(machine: Machine) -> None:
    (machine.folder / "run/share").mkdir(parents=True)
    (machine.folder / "run/agent.log").write_text("[    1.00] == dump\n")
    (machine.folder / "run/leaves").write_text('{"name": "one", "readers": "owner"}')
    report = only_result(machine.boot(b"lvpack.onerror=halt", "--died", "137"))
    text = (machine.folder / "run/share/one.failed.log").read_text()
    assert "== dump" in text and "SIGKILL" in text and parse_result(text.splitlines()[-1]) == report
    assert machine.said() == "halt\n"


def test_a_share_that_is_out_does_not_keep_the_second_agent_from_its_result(machine: Machine) -> None:
    """Whoever reads there waits for ever, as on a share that is mounted hard and that nobody gives up."""
    (machine.folder / "run").mkdir()
    os.mkfifo(machine.folder / "run/leaves")
    report = only_result(machine.boot(b"lvpack.onerror=halt", "--died", "137"))
    assert "SIGKILL" in report.message and machine.ended_by() == "halt -n -f\n"


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (b"lvpack.action=plan", True),
        (b"lvpack.target=nfs://h:1/e lvpack.mode=inplace", False),
        (b"lvpack.action=restore lvpack.source=nfs://h:1/e/s lvpack.disk=/dev/none", False),
        (b"lvpack.action=restore lvpack.source=", False),
        (b"lvpack.target=", True),
    ],
)
@pytest.mark.parametrize("died", [False, True])
def test_a_disk_that_may_be_half_done_is_not_booted_next(
    machine: Machine, words: bytes, goes_on: bool, died: bool
) -> None:
    machine.program("lsblk", "echo {")
    (machine.folder / "efi").mkdir()
    ended = machine.boot(words + b" lvpack.onerror=reboot")
    if died:
        ended = machine.boot(words + b" lvpack.onerror=reboot", "--died", "137")
    assert machine.said() == "reboot\n" and "reboot -n -f" in machine.ended_by()
    assert ("boot entry" in ended.stdout, "half done" in ended.stdout.rpartition("RESULT")[2]) == (
        goes_on,
        not goes_on,
    ), ended.stdout


def test_the_second_agent_knows_what_the_file_of_options_said(machine: Machine) -> None:
    machine.program("lsblk", "echo {")
    machine.boot(b"lvpack.action=plan lvpack.onerror=poweroff")
    report = only_result(machine.boot(b"lvpack.action=plan", "--died", "137"))
    assert report.status == "failed" and machine.said() == "poweroff\n"


def test_the_menu_and_the_shells_have_no_result_to_say(machine: Machine) -> None:
    for words in (b"quiet", b"lvpack.action=shell lvpack.onerror=reboot"):
        ended = machine.boot(words)
        assert (ended.status, RESULT_MARK in ended.stdout, machine.said()) == (0, False, "shell\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cmdline", "lvpack.margin=\udcff"), r"lvpack.margin=\xff"),
        (("--cmdline", "--colour"), "cannot use the arguments"),
        (("lvpack.action=plan",), "cannot use the arguments"),
    ],
)
def test_a_run_by_hand_has_a_result_and_nothing_follows(
    machine: Machine, arguments: tuple[str, ...], words: str
) -> None:
    ended = machine.boot(b"lvpack.onerror=poweroff", *arguments)
    report = only_result(ended)
    assert report.status == "refused" and words in report.message, report
    assert ended.status > 0 and report.hint
    assert machine.ended_by() == ""
    assert not (machine.folder / "run/said").exists()


def test_a_second_run_of_a_boot_keeps_the_log_of_the_first(machine: Machine) -> None:
    machine.boot(b"lvpack.onerror=poweroff", "--cmdline", "lvpack.colour=red")
    machine.boot(b"lvpack.onerror=poweroff", "--cmdline", "lvpack.shape=round")
    log = (machine.folder / "run/agent.log").read_text()
    assert 0 < log.index("lvpack.colour") < log.index("\n=== another run, 2") < log.index("lvpack.shape")
