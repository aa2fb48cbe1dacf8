"""What end-to-end tests work with: a folder and a share for each, and the fingerprints of disks."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lab import interfaces
from lvpack_agent.backup import failed_log
from lvpack_agent.backup.claim import RELEASED
from lvpack_agent.pipes import is_zero
from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK, Report, parse_result
from lvpack_agent.sizes import KIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper, runs
from lvpack_builder.lab.console import Console, read_result
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.qemu import Drive, Machine, accelerator, live
from lvpack_builder.lab.runs import Computer, SharedFolder, served_folder, shared_arguments

BLOCK = 256 * KIB
RUN_SECONDS, OFF_SECONDS = 1500.0, 120.0
# As after a boot with that kernel command line: the agent that has made the shell is gone, with the memory that it
# took, and the new one has no terminal.
START_AGENT = (
    "pkill -9 -f start-agent; pkill -9 -f lvpack_agent; cd /; printf '%s\\n' {line} > /run/cmdline; "
    "mount --bind /run/cmdline /proc/cmdline && exec setsid --wait /usr/lib/lvpack/start-agent"
)
IN_PLACE = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.name=one")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return a hash of all bytes of a sparse file that are not zero and where they are: quick over its holes.

    Where the host's filesystem keeps holes and where zeros plays no part; it may change its mind about that.
    """
    digest = hashlib.sha256(b"%d" % path.stat().st_size)
    for at, data in blocks(path):
        digest.update(b"%d %d" % (at, len(data)))
        digest.update(data)
    return digest.hexdigest()


def holds(path: Path, text: bytes) -> bool:
    """Tell whether a text stands anywhere in a sparse file."""
    end, last = 0, b""
    for at, data in blocks(path):
        last = (last[-len(text) :] if at == end else b"") + data
        end = at + len(data)
        if text in last:
            return True
    return False


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a file that are not all zeros, and where they are."""
    with path.open("rb") as file:
        at = 0
        # SEEK_DATA fails with ENXIO after the last data (lseek(2)).
        with suppress(OSError):
            while True:
                at = max(at, os.lseek(file.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK)
                data = os.pread(file.fileno(), BLOCK, at)
                if not is_zero(data):
                    yield at, data
                at += BLOCK


@contextmanager
def started(machine: Machine, accelerator: str, transcript: Path) -> Iterator[Console]:
    """Yield the console of a machine in which the agent has just been started by what starts it at boot.

    It is as after a boot of the machine, but goes on from a guest that was saved at its shell, where that can be.
    """
    with helper.at_shell(replace(machine, arguments=(helper.SHELL,)), accelerator, transcript) as console:
        start_agent(console, machine, accelerator)
        yield console


def start_agent(console: Console, machine: Machine, accelerator: str) -> None:
    """Start the agent anew in a guest that stands at its shell, as if the machine had booted with its arguments."""
    console.send(START_AGENT.format(line=shlex.quote(machine.kernel_line(accelerator))))


def result_in(output: str) -> Report:
    """Return the result of the one run that has written this output. Raises Failed if it cannot be read."""
    [line] = [line for line in output.splitlines() if line.startswith(RESULT_MARK)]
    return read_result(line.partition(RESULT_MARK)[2])


def log_left(share: Path, name: str, ended: Report) -> str:
    """Return what a run that ended badly has left on its share, once it was seen to have the run's result."""
    path = share / f"{name}{failed_log.SUFFIX}"
    text = path.read_text()
    assert text.startswith(failed_log.FIRST)
    assert path.stat().st_mode & 0o7777 == 0o600
    left = parse_result(text.splitlines()[-1])
    assert (left.status, left.message, left.hint) == (ended.status, ended.message, ended.hint)
    assert f"action: {ended.action}" in text
    return text


def age_claims(share: Path) -> None:
    """Let the claims of a machine that was cut off be as old as if it took its time to boot again."""
    for path in share.glob("inplace-*/claim-*"):
        os.utime(path, (0, 0))


def give_back_claims(share: Path) -> None:
    """Let the claims of a machine that was cut off be as if it had given them back: the next boot need not wait."""
    for path in share.rglob("claim-*"):
        with path.open("r+b") as file:
            # As long as what it ends with otherwise: an NFS server may know the size of a file by heart.
            file.seek(max(0, path.stat().st_size - len(RELEASED)))
            file.write(RELEASED.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A folder for one test, its share, and runs of the live image with both.

    saved: a run on an ordinary machine goes on from a guest that was saved at its shell, instead of booting.
    """

    image: LiveImage
    folder: Path
    share: Path
    saved: bool = False

    def run(
        self,
        drives: list[Drive],
        *arguments: str,
        share: Path | None = None,
        nfs: int = 4,
        read_only: bool = False,
        **computer: object,
    ) -> Report:
        """Run the live image with this lab's share, or another folder; computer are fields of runs.Computer."""
        shared = SharedFolder(folder=share or self.share, nfs=nfs, read_only=read_only)
        if self.saved and not computer:
            report = self._go_on(drives, arguments, shared)
        else:
            report = runs.run_image(
                self.image,
                Computer(drives=drives, **computer),  # type: ignore[arg-type]
                arguments,
                share=shared,
                transcript=self.folder / "console.log",
                deadline=RUN_SECONDS,
            )
        interfaces.check_result(report, arguments)
        return report

    def _go_on(self, drives: list[Drive], arguments: Sequence[str], share: SharedFolder) -> Report:
        """As runs.run_image, but without a boot."""
        with served_folder(share) as served:
            machine = live(self.image, shared_arguments(arguments, served), drives=tuple(drives))
            with started(machine, accelerator(self.image), self.folder / "console.log") as console:
                report = console.result(RUN_SECONDS)
                console.wait(OFF_SECONDS)
                return report

    def prepare(self, drives: list[Drive], command: str, nvram: Path | None = None) -> str:
        """Change disks, or UEFI variables, by a command in the live image's shell; return what it says."""
        log = self.folder / "helper.log"
        answer = helper.in_live_image(self.image, drives, self.folder, command, log, 300, nvram=nvram)
        assert answer.status == 0, answer.output
        return answer.output


def assert_ended(report: Report, status: str, *words: str) -> None:
    """The run ended so, its message has these words, and it says what to do."""
    assert report.status == status, report
    assert report.message.startswith("cannot "), report
    for word in words:
        assert word in report.message, report
    assert report.hint, report


def cut_to_size(disk: Path, report: Report, target: Path) -> Path:
    """Return a copy of a disk that was packed in place, cut to the planned size."""
    sparse_copy(disk, target)
    run(["qemu-img", "resize", "--shrink", "-f", "raw", target, str(report.sizes.packed_disk)])
    return target
