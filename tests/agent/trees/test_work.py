"""Processes that work on trees: what happens to one of them is said in a sentence, and none stays behind."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.trees import work

pytestmark = pytest.mark.starts_processes


def test_a_process_that_ends_is_an_error() -> None:
    worker = work._Worker([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(Failed, match="a process of lvpack's was ended by SIGKILL"):
        worker.ask([""])
    worker.end()


def test_what_cannot_be_read_is_named_and_no_process_stays(tmp_path: Path) -> None:
    """A filesystem that is not XFS takes no flags."""
    (tmp_path / "old/below").mkdir(parents=True)
    (tmp_path / "new").mkdir()
    (tmp_path / "old/below/link").symlink_to("nowhere")
    with pytest.raises(Failed, match="cannot copy '/below/link': Inappropriate ioctl for device"):
        work.copy_tree(str(tmp_path / "old"), str(tmp_path / "new"), lambda: None)
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # It has ended.
            commands.append(path.read_bytes())
    assert commands
    assert not [command for command in commands if os.fsencode(tmp_path) in command]
