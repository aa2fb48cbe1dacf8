"""Jobs whose power is cut: what each starts from, what must hold after each cut, and at the end."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from faults.bench import OLD, Samples, copied_sets, head_is_gone, source_copy, target_disk
from lab.rotation import FIRST_WRITE
from lab.runs import fingerprint
from lvpack_agent.errors import Failed, LvpackError
from lvpack_agent.image import check
from lvpack_agent.image.files import PARTIAL
from lvpack_agent.processes import run
from lvpack_agent.report import Report
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive

NAME = "cut"


class Job(Protocol):
    """What is run; arguments are its kernel options, on says what on, first_write is the phase of its first write.

    The checks raise Failed if a disk or a share is not as it must be. goes_on: a boot after a cut says what it resumes.
    """

    @property
    def image(self) -> LiveImage: ...
    @property
    def arguments(self) -> tuple[str, ...]: ...
    @property
    def on(self) -> str: ...
    @property
    def first_write(self) -> str: ...
    @property
    def goes_on(self) -> bool: ...

    def prepare(self, folder: Path, share: Path) -> Path:
        """Make the disk of a run in its folder, and what its share has; return the disk."""
        ...

    def check_cut(self, disk: Path, share: Path, seen: Collection[str]) -> None:
        """Check what a power cut has left; seen are the kinds of markers that any boot of the run has shown."""
        ...

    def check_end(self, disk: Path, share: Path, report: Report | None) -> None:
        """Check what the last boot of a run has left, which was not cut and said so."""
        ...


@dataclass(kw_only=True)
class InPlace:
    """In-place mode on copies of a disk: it is finished at last, with all its files."""

    image: LiveImage
    pristine: Path
    arguments: tuple[str, ...]
    first_write: str = FIRST_WRITE
    goes_on: bool = True
    _untouched: str = field(init=False)
    _before: Inventory = field(init=False)

    def __post_init__(self) -> None:
        self._untouched = fingerprint(self.pristine)
        self._before = inventory.take(self.image, Drive(path=self.pristine))

    @property
    def on(self) -> str:
        return self.pristine.name

    def prepare(self, folder: Path, share: Path) -> Path:
        return sparse_copy(self.pristine, folder / "disk.img")

    def check_cut(self, disk: Path, share: Path, seen: Collection[str]) -> None:
        if FIRST_WRITE not in seen and fingerprint(disk) != self._untouched:
            raise Failed(f"cannot accept a disk that was written to before '== {FIRST_WRITE}'")

    def check_end(self, disk: Path, share: Path, report: Report | None) -> None:
        _check_ok(report)
        after = inventory.take(self.image, Drive(path=disk))
        if lines := inventory.differing_files(self._before, after):
            raise Failed(f"cannot accept the disk: {len(lines)} files differ: {'; '.join(lines[:3])}")
        if (found := after.identities()) != (wanted := self._before.identities()):
            raise Failed(f"cannot accept the disk: identities {wanted} became {found}")
        _check_sums(share)


@dataclass(frozen=True, kw_only=True)
class _OnSamples:
    """A job that begins anew after a cut; extra are further kernel options."""

    image: LiveImage
    samples: Samples
    extra: tuple[str, ...] = ()
    first_write: str = ""
    goes_on: bool = False


@dataclass(frozen=True, kw_only=True)
class Backup(_OnSamples):
    """Overlay mode: the source never changes, and the share has a whole set under the name, or none."""

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("lvpack.action=backup", f"lvpack.name={NAME}", *self.extra)

    @property
    def on(self) -> str:
        return self.samples.source.name

    def prepare(self, folder: Path, share: Path) -> Path:
        return source_copy(self.samples, folder)

    def check_cut(self, disk: Path, share: Path, seen: Collection[str]) -> None:
        if fingerprint(disk) != self.samples.untouched:
            raise Failed("cannot accept a source that was written to")
        if (share / NAME).exists():
            _check_set(share)
        # A name that a run was cut off with is refused until somebody has removed what is left.
        shutil.rmtree(share / (NAME + PARTIAL), ignore_errors=True)

    def check_end(self, disk: Path, share: Path, report: Report | None) -> None:
        # Of a cut after the set had got its name, the next boot says that there is one.
        if not (report and report.status == "refused" and f"'{NAME}'" in report.message):
            _check_ok(report)
        if left := [path.name for path in share.iterdir() if path.name.endswith(PARTIAL)]:
            raise Failed(f"cannot accept a share with what is left of sets: {left}")
        if not (share / NAME).exists():
            raise Failed("cannot accept a share without the set")
        self.check_cut(disk, share, ())


@dataclass(frozen=True, kw_only=True)
class Restore(_OnSamples):
    """A restore: the target has all that the set has, or no partition table."""

    @property
    def arguments(self) -> tuple[str, ...]:
        words = ("lvpack.action=restore", "lvpack.source=one", "lvpack.disk=/dev/vda", "lvpack.overwrite=yes")
        return (*words, *self.extra)

    @property
    def on(self) -> str:
        return "an empty disk"

    def prepare(self, folder: Path, share: Path) -> Path:
        copied_sets(self.samples, share)
        return target_disk(folder, self.samples.size)

    def check_cut(self, disk: Path, share: Path, seen: Collection[str]) -> None:
        with disk.open("rb") as file:
            if file.read(len(OLD)) == OLD or head_is_gone(disk):
                return
        if fingerprint(disk) != self.samples.packed:
            raise Failed("cannot accept a target that has a partition table, and not all that belongs to it")

    def check_end(self, disk: Path, share: Path, report: Report | None) -> None:
        _check_ok(report)
        if fingerprint(disk) != self.samples.packed:
            raise Failed("cannot accept a target that is not what the set has")
        _check_sums(share)


def _check_ok(report: Report | None) -> None:
    if not report or report.status != "ok":
        raise Failed(f"cannot accept a run that did not end ok: {report}")


def _check_sums(share: Path) -> None:
    for sums in share.glob("*/SHA256SUMS"):
        run(["sha256sum", "--check", "--strict", "--quiet", sums.name], cwd=sums.parent)


def _check_set(share: Path) -> None:
    try:
        check.check_images(share / NAME, check.read_manifest(share / NAME), lambda _: None)
    except LvpackError as error:
        raise Failed(f"cannot accept the set: {error.message}") from error
    _check_sums(share)
