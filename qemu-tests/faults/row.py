"""A row of the table: a fault, when it strikes, and what must come of it; and how a row is played."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.bench import RESULT_SECONDS, Bench, Samples, bench, copied_sets, head_is_gone, source_copy, target_disk
from faults.kinds import Fault
from lab.runs import fingerprint
from lvpack_agent.errors import LvpackError
from lvpack_agent.image import check
from lvpack_agent.image.files import PARTIAL
from lvpack_agent.report import Report
from lvpack_builder.image.build import LiveImage

MOMENT_SECONDS = 300.0
BACKUP, IN_PLACE, RESTORE, VERIFY = "backup", "in place", "restore", "verify"
# A restore to a disk twice as large as the packed one, as a job of its own.
GROW = "restore that grows"
_BACKUP = ("lvpack.action=backup", "lvpack.name=one", "lvpack.target=SHARE", "lvpack.onerror=shell")
_RESTORE = ("lvpack.action=restore", "lvpack.disk=/dev/vda", "lvpack.overwrite=yes", "lvpack.onerror=shell")
WORDS = {
    BACKUP: _BACKUP,
    IN_PLACE: (*_BACKUP, "lvpack.mode=inplace"),
    RESTORE: _RESTORE,
    GROW: _RESTORE,
    VERIFY: ("lvpack.action=verify", "lvpack.onerror=shell"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """job: BACKUP, IN_PLACE, RESTORE, GROW or VERIFY. when: what the console says just before the fault strikes.

    Without when it strikes at once. status is that of the result, "" if the run is cut; says are words of its message
    or its warnings. source is the name of the set that is restored or checked. again: the status of the run that comes
    after the fault is mended.
    Whatever happens, and in every row: an untouched source, or one that the next run finishes in place; on the share a
    whole set or none, and the reason; on a target all that the set has, or no partition table.
    """

    job: str
    fault: Fault
    when: str = ""
    status: str = "failed"
    says: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    source: str = "one"
    again: str = ""

    @property
    def name(self) -> str:
        """What tells this row from all others."""
        at = f" at '{self.when}'" if self.when else ""
        also = f" ({' '.join(self.words)})" if self.words else ""
        return f"{self.job}: {self.fault.name}{at}{also}"


def play(row: Row, image: LiveImage, made: Samples, folder: Path) -> list[str]:
    """Play a row in a folder; return what is not as it must be."""
    share = folder / "share"
    share.mkdir(parents=True)
    if row.job in (BACKUP, IN_PLACE):
        disk = source_copy(made, folder)
    else:
        disk = target_disk(folder, made.size * (2 if row.job == GROW else 1))
        copied_sets(made, share)
    if row.fault.damage:
        row.fault.damage(share)
    before = fingerprint(disk)
    reports = _reports(row, image, made, folder, disk, share)
    return list(_complaints(row, reports, made, disk, share, before))


def _reports(row: Row, image: LiveImage, made: Samples, folder: Path, disk: Path, share: Path) -> list[Report]:
    """Return the results of the run, if it has one, and of the run after it, if there is one."""
    words = (*WORDS[row.job], *row.words)
    if row.job in (RESTORE, GROW, VERIFY):
        words += (f"lvpack.source=SHARE/{row.source}",)
    reports = []
    with bench(image, made, folder, disk, share, filters=row.fault.filters, words=row.fault.words) as one:
        if row.fault.before:
            row.fault.before(one)
        if not row.when:
            _strike(row, one)
        one.start(words)
        if row.when:
            one.console.expect(row.when, MOMENT_SECONDS)
            _strike(row, one)
        if not row.fault.cuts:
            reports.append(one.console.result(RESULT_SECONDS))
            if row.fault.mend:
                row.fault.mend(one)
    if row.again:
        with bench(image, made, folder, disk, share, filters=(), words=()) as next_boot:
            next_boot.start(words)
            reports.append(next_boot.console.result(RESULT_SECONDS))
    return reports


def _strike(row: Row, one: Bench) -> None:
    if row.fault.strike:
        row.fault.strike(one)


def _complaints(row: Row, reports: list[Report], made: Samples, disk: Path, share: Path, before: str) -> Iterator[str]:
    if not row.fault.cuts:
        report = reports[0]
        said = "\n".join([report.message, *report.warnings])
        if report.status != row.status:
            yield f"the run ended {report.status}, not {row.status}: {report.message}"
        yield from (f"nothing says '{word}': {said}" for word in row.says if word not in said)
        if report.status != "ok" and not report.hint:
            yield f"nothing says what to do about: {report.message}"
    if row.again and reports[-1].status != row.again:
        yield f"the run after it ended {reports[-1].status}, not {row.again}: {reports[-1].message}"
    last = reports[-1].status if reports else "cut"
    match row.job:
        case "backup":
            if fingerprint(disk) != made.untouched:
                yield "the source was written"
            yield from _of_backup(row, last, share)
        case "in place":
            yield from _of_backup(row, last, share)
        case "restore":
            if last == "ok" and fingerprint(disk) != made.packed:
                yield "the target is not what the set has"
            yield from _of_target(last, disk, before, made.packed)
        case "restore that grows":
            if last == "ok" and (head_is_gone(disk) or fingerprint(disk) == made.packed):
                yield "the target has no partition table, or has not grown"
            yield from _of_target(last, disk, before)
        case _:
            if fingerprint(disk) != before:
                yield "a check has written to a disk"


def _of_target(last: str, disk: Path, *whole: str) -> Iterator[str]:
    """Complain of the target of a run that did not end well; whole are fingerprints that it may have, too."""
    if last != "ok" and fingerprint(disk) not in whole and not head_is_gone(disk):
        yield "the target has a partition table, and not all that belongs to it"


def _of_backup(row: Row, last: str, share: Path) -> Iterator[str]:
    names = sorted(path.name for path in share.iterdir())
    if last == "ok":
        try:
            check.check_images(share / "one", check.read_manifest(share / "one"), lambda _: None)
        except LvpackError as error:
            yield f"the set is no set: {error.message}"
        return
    if "one" in names:
        yield "there is a set of a run that did not end well"
    if last == "cut" or row.fault.gone:
        return
    if any(name.endswith(PARTIAL) for name in names) and not row.fault.cuts:
        yield f"the share has what is left of a set: {names}"
    if "one.failed.log" not in names:
        yield f"the share does not say why: {names}"
