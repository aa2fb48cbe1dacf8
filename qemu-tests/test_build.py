"""The build by itself: from an empty cache, as a user runs it, and what is left when it is stopped half way."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from lvpack_agent.processes import STDOUT, Process, spawn

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

LVPACK = Path(sys.executable).with_name("lvpack")


def start(cache: Path, out: Path, said: Path, *options: str) -> "Process[bytes]":
    with said.open("wb") as file:
        env = {"LVPACK_CACHE": str(cache)}
        return spawn([LVPACK, "build", "-o", out, *options], stdout=file.fileno(), stderr=STDOUT, env=env)


def wait_for(log: Path, words: str, process: "Process[bytes]", seconds: float = 1200) -> None:
    deadline = time.monotonic() + seconds
    while not (log.exists() and words in log.read_text(errors="replace")):
        assert process.poll() is None, "the build ended early"
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)


def processes_with(text: str) -> list[str]:
    """Return the command lines, environments and working folders of processes that name a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            places = [str(entry / name) for name in ("cwd", "root")]
            known += [os.fsencode(Path(place).readlink()) for place in places]
        except OSError:
            continue  # it has just ended
        if entry.name != str(os.getpid()) and any(text.encode() in each for each in known):
            found.append(known[0].decode(errors="replace"))
    return found


# The host's side of DIB, its chroot with /dev, /proc and /sys mounted, and a kill that nothing can catch.
@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "root.d/08-debootstrap"),
        (signal.SIGTERM, "in_target.d/pre-install.d"),
        (signal.SIGKILL, "in_target.d/pre-install.d"),
    ],
)
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, number: int, at: str) -> None:
    cache, out, said = tmp_path / "cache", tmp_path / "out", tmp_path / "said"
    out.mkdir()
    (out / "manifest.json").write_text("an earlier build")
    process = start(cache, out, said)
    wait_for(cache / "disk-image-create.log", at, process)
    process.send_signal(number)
    assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 10
    while number == signal.SIGKILL and processes_with(str(cache)) and time.monotonic() < deadline:
        time.sleep(0.1)  # nobody is left to wait for them
    assert processes_with(str(cache)) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert [p.name for p in out.iterdir()] == ["manifest.json"]
    assert (out / "manifest.json").read_text() == "an earlier build"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out", "said"]
    if number != signal.SIGKILL:
        assert said.read_text() == f"lvpack: interrupted by {signal.Signals(number).name}\n"
        assert list(cache.glob("base-*")) == []
