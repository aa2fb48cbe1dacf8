"""What end-to-end tests work with: a folder and a share for each, and the fingerprints of disks."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.report import Report
from lvpack_agent.sizes import MIB
from lvpack_builder import runs
from lvpack_builder.build import LiveImage
from lvpack_builder.qemu import Drive


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return a hash of all that a sparse file holds and where, much faster than reading its holes as zeros."""
    digest = hashlib.sha256(b"%d" % path.stat().st_size)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        end = 0
        # SEEK_DATA fails with ENXIO after the last data (lseek(2)).
        with suppress(OSError):
            while True:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                digest.update(b"%d %d" % (start, end))
                while start < end:
                    data = os.pread(file.fileno(), min(MIB, end - start), start)
                    digest.update(data)
                    start += len(data)
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
