"""Cases by number, and what came out of them."""

import resource
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from tests.fuzz.parsers import Parser

# No damaged file of a few KiB may take longer, or more memory.
SECONDS = 20
MEMORY = 3 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came out of a parser and should not: the first number of a case, where, and how many cases ended there."""

    parser: str
    number: int
    what: str
    where: str


class TooSlow(Exception):
    """A parser did not come to an end."""


def case(parser: Parser, seed: int, number: int) -> bytes:
    """Return the input of a case."""
    dice = Random(f"{seed} {parser.name} {number}")
    samples = parser.samples()
    return parser.damage(dice.choice(samples), dice, samples)


@contextmanager
def limited() -> Iterator[None]:
    """Limit the memory of this process, and raise TooSlow in what does not end."""

    def slow(_: int, __: FrameType | None) -> None:
        raise TooSlow(f"it takes more than {SECONDS} s")

    former = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, former[1]))
    before = signal.signal(signal.SIGALRM, slow)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, former)


def fuzz(parser: Parser, seed: int, numbers: range) -> Iterator[Finding]:
    """Run cases; yield those out of which another error came than the parser may raise."""
    with tempfile.TemporaryDirectory(prefix="lvpack-fuzz-") as name, limited():
        for number in numbers:
            folder = Path(name) / "case"
            folder.mkdir()
            signal.alarm(SECONDS)
            try:
                parser.parse(case(parser, seed, number), folder)
            except parser.error:
                pass
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                ours = [f for f in traceback.extract_tb(error.__traceback__) if "lvpack_" in f.filename]
                frame = ours[-1] if ours else frame
                where = f"{Path(frame.filename).name}:{frame.lineno}"
                yield Finding(
                    parser=parser.name, number=number, what=f"{type(error).__name__}: {str(error)[:150]}", where=where
                )
            finally:
                signal.alarm(0)
                _remove(folder)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
