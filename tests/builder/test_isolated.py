import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lvpack_agent.processes import ToolFailed
from lvpack_builder import isolated
from lvpack_builder.cli.main import main

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.timeout(60),
]

# What disk-image-create does to a host: a mount, a process in a session of its own, a long wait. $1 is a folder.
HOLDS = 'mount -t tmpfs held "$1" && { setsid sleep 86399 & } && touch "$1/on-the-mount" && echo held && wait'


def processes() -> list[int]:
    """Return the host's processes that HOLDS has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"sleep\x0086399" in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue  # it has just ended
    return found


@contextmanager
def once_held(log: Path, act: Callable[[], None]) -> Iterator[None]:
    """Act in another thread as soon as HOLDS holds all it wants."""

    def watch() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if log.exists() and "held" in log.read_text() and processes():
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def assert_nothing_left(folder: Path) -> None:
    assert processes() == []
    assert "held" not in Path("/proc/self/mountinfo").read_text()
    assert list(folder.iterdir()) == [], "the mount was never seen here"


def test_the_last_words_of_a_helper_are_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # As DIB's output filter does, it ends after the program.
    slow = "exec > >(while read -r line; do sleep 0.2; echo slow $line; done); echo one; echo two; exit 3"
    with pytest.raises(ToolFailed, match="exit status 3"):
        isolated.run(["bash", "-c", slow], log=log)
    assert log.read_text() == "slow one\nslow two\n"


def test_a_process_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    isolated.run(["bash", "-c", "sleep 86399 & echo done"], log=tmp_path / "log")
    assert time.monotonic() - began < 30
    assert (tmp_path / "log").read_text() == "done\n"
    assert processes() == []


def test_an_interrupt_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    folder, log = tmp_path / "mnt", tmp_path / "log"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt), once_held(log, lambda: os.kill(os.getpid(), signal.SIGINT)):
        isolated.run(["bash", "-c", HOLDS, "bash", folder], log=log)
    assert_nothing_left(folder)


def test_a_kill_of_the_child_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    folder, log = tmp_path / "mnt", tmp_path / "log"
    folder.mkdir()
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")

    def kill() -> None:
        for pid in own.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text() == "unshare\n":
                os.kill(int(pid), signal.SIGKILL)

    with pytest.raises(ToolFailed, match="SIGKILL"), once_held(log, kill):
        isolated.run(["bash", "-c", HOLDS, "bash", folder], log=log)
    assert_nothing_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_a_line_and_a_status(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.getsignal(n) for n in numbers}
    monkeypatch.setattr("lvpack_builder.image.build.build", interrupted)
    try:
        result = CliRunner().invoke(main, ["build"])
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert result.exit_code == 128 + number
    assert result.output == f"lvpack: interrupted by {signal.Signals(number).name}\n"
