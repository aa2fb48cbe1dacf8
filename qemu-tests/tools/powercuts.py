"""Power cuts at every step of a run: whatever is cut, a disk in place ends up whole and packed, a source is untouched,
a target has all of a set or no partition table.

In qemu-tests/: ../.venv/bin/python -m tools.powercuts [--job inplace|backup|restore] --cuts 50 [--seed 7]
[--recipe NAME] [-a KEY=VALUE …] [--jobs 2]
"""

import secrets
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from random import Random

import click

from faults.bench import samples
from lab.cutjobs import Backup, InPlace, Job, Restore
from lab.cutrun import Bench, Cut, Moment, Run
from lab.rotation import Rotation
from lvpack_agent.errors import Failed, LvpackError
from lvpack_builder.image.build import LiveImage, built_image
from lvpack_builder.lab.sample.server import FOLDER, make_sample
from lvpack_builder.paths import cache_dir

ARGUMENTS = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.name=cut")
# So many runs in a row without a cut mean that something else is wrong.
MOST_IN_VAIN = 5


def run_cuts(
    job: Job, folder: Path, cuts: int, seed: int, say: Callable[[str], None], *, at_once: int = 1
) -> list[Cut]:
    """Cut the power so many times in runs of a job, each on a disk of its own; at_once: how many runs at a time.

    say gets a line per cut and a table at the end. Raises Failed at the first disk that is not as it must be; then
    it, its share and the consoles' logs stay in folder.
    """
    bench = _bench(job, folder, seed, say)
    reference = Run(bench, "reference", Random(seed))
    with _passing(reference, f"the run without a cut, seed {seed}"):
        markers = reference.without_cut()
    rotation = Rotation(markers, cuts, Random(seed), job.first_write)
    seconds = markers[-1].at - markers[0].at
    say(f"uncut: {len(markers)} markers of {len(rotation.kinds())} kinds in {seconds:.0f} s")

    numbers = count(1)
    if at_once == 1:
        runs = _runs(bench, rotation, seed, numbers)
    else:
        with ThreadPoolExecutor(at_once) as pool:
            started = [pool.submit(_runs, bench, rotation, seed, numbers) for _ in range(at_once)]
        runs = sum(future.result() for future in started)

    hits = Counter(made.marker.kind for made in bench.cuts)
    for kind in rotation.kinds():
        say(f"{hits[kind]:6}  {kind}")
    say(f"{len(bench.cuts):6}  cuts in {runs} runs, all ok")
    return bench.cuts


def run_moments(job: Job, folder: Path, moments: Sequence[Moment], seed: int, say: Callable[[str], None]) -> list[Cut]:
    """Cut the power at each of these moments of one run of a job; all else is as for run_cuts()."""
    bench = _bench(job, folder, seed, say)
    one = Run(bench, "run", Random(seed))
    with _passing(one, f"the run of seed {seed}"):
        one.with_moments(moments)
    return bench.cuts


def _bench(job: Job, folder: Path, seed: int, say: Callable[[str], None]) -> Bench:
    say(f"seed {seed}, disk {job.on}, {' '.join(job.arguments)}")
    return Bench(job=job, folder=folder, say=say)


def _runs(bench: Bench, rotation: Rotation, seed: int, numbers: "count[int]") -> int:
    """Start runs while there are cuts to make; return how many."""
    done = in_vain = 0
    while True:
        number = next(numbers)
        dice = Random(f"{seed}/{number}")
        aim = rotation.take(Counter(), dice)
        if not aim:
            return done
        one = Run(bench, f"run-{number:03}", dice)
        try:
            with _passing(one, f"run {number} of seed {seed}"):
                one.with_cuts(number, aim, rotation)
        except BaseException:
            rotation.close()  # the other thread's runs end too
            raise
        done += 1
        in_vain = 0 if one.cuts else in_vain + 1
        if in_vain == MOST_IN_VAIN:
            raise Failed(f"cannot cut the power: in {in_vain} runs, nothing that was waited for came")


@contextmanager
def _passing(one: Run, what: str) -> Iterator[None]:
    """Close a run; then remove its folder if all is well, else raise Failed with its cuts."""
    try:
        with closing(one):
            yield
    except LvpackError as error:
        hint = "\n  ".join([*(made.line() for made in one.cuts), f"disk, share and logs are in {one.folder}"])
        raise Failed(f"cannot pass {what}: {error.message}", hint=hint) from error
    shutil.rmtree(one.folder)


def _job(kind: str, image: LiveImage, recipe: str, extra: tuple[str, ...]) -> Job:
    if kind == "backup":
        return Backup(image=image, samples=samples(image), extra=extra)
    if kind == "restore":
        return Restore(image=image, samples=samples(image), extra=extra)
    given = {word.partition("=")[0] for word in extra}
    arguments = (*(word for word in ARGUMENTS if word.partition("=")[0] not in given), *extra)
    return InPlace(image=image, pristine=make_sample(image, recipe), arguments=arguments)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--job", "kind", type=click.Choice(["inplace", "backup", "restore"]), default="inplace", show_default=True
)
@click.option("--cuts", type=click.IntRange(min=1), default=50, show_default=True, help="Power cuts to make.")
@click.option("--seed", type=int, default=None, help="Where and when they fall.  [default: a new one]")
@click.option(
    "--recipe",
    type=click.Choice(sorted(p.stem for p in FOLDER.glob("*.toml"))),
    default="logical",
    show_default=True,
    help="Of the disk that is packed in place.",
)
@click.option("-a", "--argument", "extra", multiple=True, help="Kernel argument, e.g. lvpack.regrow=…")
@click.option("--jobs", type=click.IntRange(1, 2), default=1, show_default=True, help="Runs at a time.")
@click.option("--image", type=click.Path(path_type=Path), help="Folder of the live image.  [default: out]")
def main(
    kind: str, cuts: int, seed: int | None, recipe: str, extra: tuple[str, ...], jobs: int, image: Path | None
) -> None:
    """Run the live image that was built on copies of a sample disk, or on a target, and cut the power."""
    folder = Path(tempfile.mkdtemp(prefix="powercuts-", dir=cache_dir()))
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    try:
        run_cuts(_job(kind, built_image(image), recipe, extra), folder, cuts, seed, click.echo, at_once=jobs)
    except LvpackError as error:
        click.echo(f"powercuts: {error.message}\n  {error.hint}", err=True)
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
