"""The live image as a helper system: runs one command with disks and a folder of the host at /host.

No unit test: it starts machines, for most end-to-end tests.
"""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import saved
from lvpack_builder.lab.console import Answer, Console, running
from lvpack_builder.lab.qemu import Drive, Machine, accelerator, live
from lvpack_builder.paths import cache_dir, locked

BOOT_SECONDS = 300.0
SHELL = "lvpack.action=shell"


def shell_ready(console: Console) -> None:
    """Wait until the shell on the serial console answers."""
    console.expect("a root shell on every console", BOOT_SECONDS)
    answer = console.shell("stty -echo", 60)
    if answer.status:
        raise Failed(f"cannot use the shell of the live image: {answer.output}")


@contextmanager
def at_shell(machine: Machine, accelerator: str, transcript: Path) -> Iterator[Console]:
    """Start a machine whose arguments have SHELL, and yield its console when the shell answers.

    It goes on from a saved guest where that can be (saved.fits), which is saved first if there is none yet. If that
    fails, it boots, and a warning and the transcript say so.
    """
    note, console = "", None
    with ExitStack() as undo:
        if saved.fits(machine, accelerator):
            try:
                console = undo.enter_context(_going_on(machine, accelerator, transcript))
            except (Failed, OSError) as error:
                note = f"booted, for it could not go on from a saved guest: {error}"
                warnings.warn(note, RuntimeWarning, stacklevel=2)
        if console is None:
            console = undo.enter_context(running(machine, accelerator, transcript, note=note))
            shell_ready(console)
        yield console


@contextmanager
def _going_on(machine: Machine, accelerator: str, transcript: Path) -> Iterator[Console]:
    file = saved.place(machine, accelerator)
    with locked("guest"):
        if not file.exists():
            _save(machine, accelerator, file)
        saved.used(file)
    with running(replace(machine, forks=True, saved=file), accelerator, transcript) as console:
        try:
            saved.go_on(console, machine.drives)
        except Failed:
            file.unlink(missing_ok=True)
            raise
        yield console


def _save(machine: Machine, accelerator: str, file: Path) -> None:
    """Boot a machine like this one, but without drives, to its shell, and save it."""
    # In /tmp, for the name of a socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="lvpack-") as scratch:
        monitor = Path(scratch) / "monitor"
        folders = tuple((tag, Path(scratch)) for tag, _ in machine.folders)
        bare = replace(machine, drives=(), folders=folders, monitor=monitor, forks=True)
        with running(bare, accelerator, cache_dir() / "guest.log") as console:
            shell_ready(console)
            answer = console.shell(saved.LOADED, 60)
            if answer.status:
                raise Failed(f"cannot make the guest ready to be saved: {answer.output}")
            saved.save(monitor, file)


def in_live_image(
    image: LiveImage,
    drives: Sequence[Drive],
    folder: Path,
    command: str,
    transcript: Path,
    deadline: float,
    **options: object,
) -> Answer:
    """Start the live image at its shell, mount folder at /host, run a command, switch off; deadline in seconds.

    options are fields of Machine; it has no network unless they say so.
    """
    options = {"network": False, "memory": 1536, **options}
    machine = live(image, [SHELL], drives=tuple(drives), folders=(("host", folder),), **options)
    with at_shell(machine, accelerator(image), transcript) as console:
        how = "trans=virtio,version=9p2000.L,msize=512000"
        answer = console.shell(f"modprobe 9pnet_virtio && mkdir -p /host && mount -t 9p -o {how} host /host", 60)
        if answer.status == 0:
            answer = console.shell(command, deadline)
        console.send("sync; poweroff -f")
        console.wait(60)
        return answer
