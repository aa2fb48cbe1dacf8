"""A run with power cuts: a disk, its share, and boots with one command line, of which the last ends by itself.

What is called a boot here is one in what the agent does; the machine goes on from a saved guest (lab.started).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from lab.cutjobs import Job
from lab.markers import RESULT, Marker, Reader
from lab.rotation import Aim, Rotation
from lab.runs import age_claims, fingerprint, give_back_claims, started
from lab.volatile import KINDS, cut, powered
from lvpack_agent.errors import Failed
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.qemu import accelerator, live
from lvpack_builder.lab.runs import shared_arguments

# How many cuts a run has at least, if so many steps are left after each, and at most.
FEWEST_CUTS, MOST_CUTS = 3, 8
# One cut in so many is followed by a boot without the share.
SHARE_AWAY = 8
# One cut in so many, the first among them, leaves its claim to the journal as it is, so that the next boot waits for
# half a minute to see that nobody holds it; after the others that is known.
WAITED_FOR = 8
MARKER_SECONDS = 1500.0
OFF_SECONDS = 120.0


@dataclass(slots=True, kw_only=True)
class Cut:
    """A power cut that happened: after what it was aimed at, and the last marker before it.

    disk: volatile or plain. away: how the boot without the share ended, if there was one. resume: what the next boot
    with the share said about it.
    """

    number: int
    run: int
    aim: Aim
    disk: str
    marker: Marker
    away: str = ""
    resume: str = ""

    def line(self) -> str:
        """Return what a person wants to see of it."""
        words = f"cut {self.number:3}, run {self.run:3}, {self.disk:8}  {self.aim.delay:6.2f} s after {self.aim.kind}"
        words += f", at '{self.marker.line}' ({self.marker.kind})"
        words += f"; share away: {self.away}" if self.away else ""
        return words + (f"; {self.resume}" if self.resume else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A cut to make: at most so many seconds after the marker of a kind, when skip others have come in that boot.

    disk: volatile or plain, in the boot that is cut. share_away: a boot without the share comes after it.
    """

    kind: str
    within: float
    disk: str
    skip: int = 0
    share_away: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all runs share: their job, a folder, and the cuts so far."""

    job: Job
    folder: Path
    say: Callable[[str], None]
    cuts: list[Cut] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a boot said, and on which kind of disk; it was cut, or ended by itself."""

    reader: Reader
    disk: str
    was_cut: bool


class Run:
    """A disk and a share in a folder of their own; close() ends the share's server."""

    def __init__(self, bench: Bench, name: str, dice: Random) -> None:
        self.folder = bench.folder / name
        self.cuts: list[Cut] = []
        self._bench, self._job, self._dice = bench, bench.job, dice
        self._share = self.folder / "share"
        self._share.mkdir(parents=True)
        self._disk = self._job.prepare(self.folder, self._share)
        self._counts: Counter[str] = Counter()
        self._numbers = count(1)
        self._served = ExitStack()
        share = self._served.enter_context(nfs_share(self._share))
        self._port, self._words = share.port, shared_arguments(bench.job.arguments, share)

    def close(self) -> None:
        self._served.close()

    def without_cut(self) -> list[Marker]:
        """Run to the end, check the disk, return the markers. Raises Failed if anything is not as it must be."""
        boot = self._boot(None)
        self._job.check_end(self._disk, self._share, boot.reader.report)
        return boot.reader.seen

    def with_cuts(self, number: int, aim: Aim, rotation: Rotation) -> None:
        """Run with some cuts, the first as given, and check the disk.

        What was aimed at does not come if an earlier boot had done it; then there are fewer cuts, or none.
        Raises Failed if anything is not as it must be.
        """
        most = self._dice.randint(FEWEST_CUTS, MOST_CUTS)
        wanted: Aim | None = aim
        while True:
            boot = self._boot(wanted)
            rotation.learn(boot.reader.seen)
            self._say_how_it_went_on(boot)
            if wanted and not boot.was_cut:
                rotation.put_back(wanted, soon=bool(self.cuts))
            if wanted and boot.was_cut:
                self._record(number, wanted, boot)
            if boot.reader.report:
                break
            self._job.check_cut(self._disk, self._share, self._counts.keys())
            if self._dice.randrange(SHARE_AWAY) == 0:
                self.cuts[-1].away = self._boot_without_share()
            wanted = rotation.take(self._counts, self._dice) if len(self.cuts) < most else None
        if boot.was_cut:
            self.cuts[-1].resume = "the run was done"
            self._bench.say(self.cuts[-1].line())
        self._job.check_end(self._disk, self._share, boot.reader.report)

    def with_moments(self, moments: Sequence[Moment]) -> None:
        """Run with a cut at each of these moments, in their order, and check the disk.

        Raises Failed if anything is not as it must be, or a moment does not come.
        """
        for moment in moments:
            aim = Aim(kind=moment.kind, skip=moment.skip, delay=self._dice.uniform(0, moment.within))
            boot = self._boot(aim, moment.disk)
            self._say_how_it_went_on(boot)
            if not boot.was_cut:
                ended = f"{report.status}: {report.message}" if (report := boot.reader.report) else "without a result"
                raise Failed(f"cannot cut the power at '{moment.kind}': the run ended before that, {ended}")
            self._record(1, aim, boot)
            self._job.check_cut(self._disk, self._share, self._counts.keys())
            if moment.share_away:
                self.cuts[-1].away = self._boot_without_share()
        boot = self._boot(None)
        self._say_how_it_went_on(boot)
        self._job.check_end(self._disk, self._share, boot.reader.report)

    def _say_how_it_went_on(self, boot: Boot) -> None:
        if self.cuts:
            self.cuts[-1].resume = boot.reader.resume or ("no word of resuming" if self._job.goes_on else "")
            self._bench.say(self.cuts[-1].line())

    def _boot(self, aim: Aim | None, kind: str = "") -> Boot:
        kind = kind or self._dice.choice(KINDS)
        image, log = self._job.image, self.folder / f"boot-{next(self._numbers)}.log"
        with powered(self._disk, kind) as disk:
            machine = live(image, self._words, drives=(disk.drive,))
            with started(machine, accelerator(image), log) as console:
                reader = Reader(console)
                was_cut = _reached(reader, aim)
                if was_cut:
                    cut(console, disk)
                    reader.rest()
                    waited_for = len(self._bench.cuts) % WAITED_FOR == 0
                    (age_claims if waited_for else give_back_claims)(self._share)
                else:
                    console.wait(OFF_SECONDS)
        self._counts.update(marker.kind for marker in reader.seen)
        return Boot(reader=reader, disk=kind, was_cut=was_cut)

    def _boot_without_share(self) -> str:
        before, counts = fingerprint(self._disk), self._counts.copy()
        self._served.close()
        report = self._boot(None).reader.report
        self._served.enter_context(nfs_share(self._share, port=self._port))
        self._counts = counts
        assert report
        if report.status not in ("failed", "refused"):
            raise Failed(f"cannot accept a run without its share that ended {report.status}: {report.message}")
        if fingerprint(self._disk) != before:
            raise Failed("cannot accept a run without its share that wrote to the disk")
        return f"{report.status}: {report.message}"

    def _record(self, number: int, aim: Aim, boot: Boot) -> None:
        if not boot.reader.seen:
            raise Failed("cannot tell where the power cut fell: no marker before it")
        made = Cut(number=0, run=number, aim=aim, disk=boot.disk, marker=boot.reader.seen[-1])
        self._bench.cuts.append(made)
        made.number = len(self._bench.cuts)
        self.cuts.append(made)


def _reached(reader: Reader, aim: Aim | None) -> bool:
    """Read until the moment of the cut, or to the result: then there is none, unless the result was aimed at."""
    skip = aim.skip if aim else 0
    while marker := reader.next(MARKER_SECONDS):
        if aim and marker.kind == aim.kind:
            if not skip:
                reader.pause(aim.delay)
                return True
            skip -= 1
        if marker.kind == RESULT:
            return False
    raise Failed(f"cannot see a run's next step: nothing came for {MARKER_SECONDS:.0f} s")
