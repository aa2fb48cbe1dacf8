"""What end-to-end tests work with: a folder and a share for each, and the fingerprints of disks."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import run
from lvpack_agent.report import Report
from lvpack_agent.sizes import KIB
from lvpack_agent.streams import is_zero
from lvpack_builder import helper, runs
from lvpack_builder.build import LiveImage
from lvpack_builder.demo import sparse_copy
from lvpack_builder.qemu import Drive

BLOCK = 256 * KIB
IN_PLACE = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.name=one")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return a hash of all bytes of a sparse file that are not zero and where they are: quick over its holes.

    Where the host's filesystem keeps holes and where zeros plays no part; it may change its mind about that.
    """
    digest = hashlib.sha256(b"%d" % path.stat().st_size)
    with path.open("rb") as file:
        at = 0
        # SEEK_DATA fails with ENXIO after the last data (lseek(2)).
        with suppress(OSError):
            while True:
                at = max(at, os.lseek(file.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK)
                data = os.pread(file.fileno(), BLOCK, at)
                if not is_zero(data):
                    digest.update(b"%d %d" % (at, len(data)))
                    digest.update(data)
                at += BLOCK
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A folder for one test, its share, and runs of the live image with both."""

    image: LiveImage
    folder: Path
    share: Path

    def run(self, drives: list[Drive], *arguments: str, **options: object) -> Report:
        options.setdefault("share", self.share)
        return runs.run_image(
            self.image,
            drives,
            arguments,
            transcript=self.folder / "console.log",
            deadline=1500,
            **options,  # type: ignore[arg-type]
        )

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
    run(["qemu-img", "resize", "--shrink", "-f", "raw", target, str(report.sizes["packed_disk"])])
    return target
