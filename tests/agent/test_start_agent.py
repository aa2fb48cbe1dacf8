"""start-agent, which has the last word, in a root of its own: an agent may die as it likes."""

import os
import shutil
from pathlib import Path

import pytest

from lvpack_agent.machine import resultport
from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK, parse_result

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.timeout(60),
]

START = "usr/lib/lvpack/start-agent"
SOURCE = Path(__file__).parents[2] / "elements/lvpack-boot/static" / START
DIES = "exit 1"
PORT = str(resultport.PORT.relative_to("/dev"))
SAYS = "echo {} > /run/lvpack/said"


class Root:
    """A root with busybox for a shell; the programs that start-agent calls write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("usr/bin", "usr/lib/lvpack", "bin", "run/lvpack", "proc", "dev", "sys/class/tty/console"):
            (folder / name).mkdir(parents=True)
        (folder / "usr/lib/lvpack/start-agent").write_bytes(SOURCE.read_bytes())
        busybox = shutil.which("busybox")
        assert busybox
        shutil.copy(busybox, folder / "bin/all-of-busybox")
        for applet in ("sh", "rm", "sleep", "true", "kill"):
            (folder / "bin" / applet).symlink_to("all-of-busybox")
        for name in ("tty0", "ttyS0", "null", PORT):
            (folder / "dev" / name).parent.mkdir(exist_ok=True)
            (folder / "dev" / name).touch()
        (folder / "sys/class/tty/console/active").write_text("tty0 ttyS0\n")
        # The machine is off, with everything on it.
        self.program("busybox", "kill -9 $PPID")
        # The console goes, so that the shell on it is not kept for ever.
        self.program("setsid", "rm -f /dev/tty0 /dev/ttyS0")

    def program(self, name: str, script: str) -> None:
        path = self.folder / "usr/bin" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> /called\n{script}\n')
        path.chmod(0o755)

    def start(self, agent: str, second: str, words: bytes) -> list[str]:
        """Run it with an agent, which is a second one with --died, and return the calls."""
        (self.folder / "proc/cmdline").write_bytes(words + b"\n")
        self.program("python3", f'case "$*" in *--died*) {second} ;; *) {agent} ;; esac')
        run(["chroot", self.folder, "/bin/sh", f"/{START}"], ok=(0, -9), timeout=30)
        return (self.folder / "called").read_text().splitlines()

    def consoles(self) -> list[str]:
        return [(self.folder / "dev" / name).read_text() for name in ("tty0", "ttyS0")]

    def port(self) -> str:
        """Return what the hypervisor got."""
        return (self.folder / "dev" / PORT).read_text()


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.mark.parametrize("status", [0, 1, 2, 137])
def test_an_agent_that_says_nothing_has_a_second_one_speak(root: Root, status: int) -> None:
    calls = root.start(f"exit {status}", SAYS.format("reboot"), b"quiet")
    assert calls == [
        "python3 -m lvpack_agent",
        f"python3 -m lvpack_agent --died {status}",
        "busybox reboot -n -f",
    ]
    assert root.consoles() == ["", ""]


@pytest.mark.parametrize("end", ["exit 0", "exit 1", "kill -9 $$"])
def test_what_the_agent_could_not_do_is_done_without_another_result(root: Root, end: str) -> None:
    calls = root.start(f"{SAYS.format('poweroff')}; {end}", DIES, b"lvpack.onerror=reboot")
    assert calls == ["python3 -m lvpack_agent", "busybox poweroff -n -f"]
    assert root.consoles() == ["", ""]


def test_shells_that_end_with_the_agent_come_again(root: Root) -> None:
    calls = root.start(f"{SAYS.format('shell')}; kill -9 $$", DIES, b"quiet")
    assert calls[0] == "python3 -m lvpack_agent"
    assert set(calls[1:]) == {"setsid --ctty --wait sh -l"}


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (b"quiet console=ttyS0,115200 foo=\xff* lvpack.onerror=halt", "busybox halt -n -f"),
        (b"lvpack.onerror=halt lvpack.onerror=poweroff", "busybox poweroff -n -f"),
        (b'"lvpack.onerror=reboot"', "busybox reboot -n -f"),
        (b"lvpack.onerror=\xff console=null", "setsid --ctty --wait sh -l"),
        (b"", "setsid --ctty --wait sh -l"),
    ],
)
def test_it_speaks_itself_if_no_agent_can(root: Root, words: bytes, last: str) -> None:
    calls = root.start(DIES, "exit 139", words)
    assert calls[:2] == ["python3 -m lvpack_agent", "python3 -m lvpack_agent --died 1"]
    assert calls[-1] == last
    if last.startswith("busybox"):
        for console in root.consoles():
            [line] = [line for line in console.splitlines() if RESULT_MARK in line]
            report = parse_result(line)
            assert report.status == "failed" and "ended with 1 " in report.message
            assert report.hint
            assert root.port().splitlines() == [line]


def test_a_machine_without_the_port_says_it_on_its_consoles(root: Root) -> None:
    (root.folder / "dev" / PORT).unlink()
    root.start(DIES, "exit 139", b"lvpack.onerror=halt")
    assert all(RESULT_MARK in console for console in root.consoles())
    assert not (root.folder / "dev" / PORT).exists()


def test_a_mark_of_an_earlier_start_is_no_mark(root: Root) -> None:
    (root.folder / "run/lvpack/said").write_text("poweroff\n")
    assert root.start(DIES, SAYS.format("halt"), b"")[-1] == "busybox halt -n -f"
