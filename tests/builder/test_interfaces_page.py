"""docs/interfaces.md has each exit status of lvpack on the workstation."""

import os
import signal
import sys
from pathlib import Path

import pytest

from lab.interfaces import rows
from lvpack_agent import processes
from lvpack_agent.report import Report
from lvpack_builder.image.build import LiveImage

pytestmark = [pytest.mark.starts_processes, pytest.mark.timeout(120)]

LVPACK = [str(Path(sys.executable).with_name("lvpack"))]
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def status(*arguments: str | Path) -> int:
    """Return the exit status of lvpack."""
    return processes.run([*LVPACK, *map(str, arguments)], ok=range(256), timeout=60).status


def after_signal(folder: Path, number: int) -> int:
    """Return the status of lvpack run that gets a signal while its machine is at work."""
    command, environment = running(folder, f"exec cat {folder}/fifo")
    os.mkfifo(folder / "fifo")
    lvpack = processes.spawn(command, stdout=processes.DEVNULL, stderr=processes.PIPE, env=environment)
    with (folder / "fifo").open("wb"):  # opens when the other end does
        lvpack.send_signal(number)
        _, said = lvpack.communicate(timeout=60)
    assert signal.Signals(number).name.encode() in said
    return lvpack.returncode


def run_that_ends(folder: Path, result: str) -> int:
    """Return the status of lvpack run, whose machine is a program that says a result, also by its port, and ends."""
    port = 'for word; do case "$word" in file,id=result,path=*) port=${word##*path=} ;; esac; done'
    command, environment = running(folder, f'{port}\ntee "$port" < {folder}/said')
    (folder / "said").write_text(f"{Report(status=result, action='plan', message='').line()}\r\n")
    ended = processes.run(command, ok=range(256), env=environment, timeout=60)
    assert f'"status": "{result}"' in ended.stdout, ended.stderr
    return ended.status


def running(folder: Path, script: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of lvpack run, whose machine is a script, and its environment.

    It hears all signals, also where who runs the tests ignores some, as a shell does SIGINT for what it puts into
    the background.
    """
    image = LiveImage(folder=folder)
    image.kit.mkdir(parents=True)
    for path in (image.kernel, image.initrd, folder / "disk.img"):
        path.touch()
    machine = folder / "qemu-system-x86_64"
    machine.write_text(f"#!/bin/sh\n{script}\n")
    machine.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "LVPACK_CACHE": str(folder), "LVPACK_ACCEL": "tcg"}
    hears = f"--default-signal={','.join(number.name for number in SIGNALS)}"
    return ["env", hears, *LVPACK, "run", "--disk", str(folder / "disk.img"), "--image", str(folder)], environment


def test_each_exit_status(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")
    seen = {
        "0": [status("options"), run_that_ends(tmp_path / "ok", "ok")],
        "1": [status("verify", damaged), run_that_ends(tmp_path / "failed", "failed")],
        "2": [status("verify", tmp_path), status("--colour"), run_that_ends(tmp_path / "refused", "refused")],
        "128+N": [after_signal(tmp_path / signal.Signals(number).name, number) - 128 for number in SIGNALS],
    }
    expected = {"0": [0, 0], "1": [1, 1], "2": [2, 2, 2], "128+N": [int(number) for number in SIGNALS]}
    assert seen == expected
    page = rows("Exit status of lvpack")
    assert page.keys() == seen.keys()
    for number in SIGNALS:
        assert f"{128 + number} {number.name}" in page["128+N"][0]
