"""The same inputs give the same bytes: one date for all that is in an image, and nothing of the build itself.

The date is SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/), in seconds since 1970. It
stands in the environment while a build runs: mksquashfs, xorriso and mtools read it there.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.processes import run

VARIABLE = "SOURCE_DATE_EPOCH"
DAY = 24 * 3600


def given() -> int | None:
    """Return the date that the environment asks for, None if it does not. Raises Refused if it is no such date."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    # FAT begins in 1980, squashfs ends in 2106.
    if not re.fullmatch("[0-9]{9,10}", text) or not 315532800 <= int(text) < 2**32:
        raise Refused(
            f"cannot date the live image by {VARIABLE}={text}: it is no number of seconds since 1970, from 1980 on",
            hint="use the output of date +%s, or unset it",
        )
    return int(text)


def date_of(tree: Path) -> int:
    """Return the date of an image: as given, else when its kernel was built, which follows from its packages."""
    wanted = given()
    if wanted is not None:
        return wanted
    kernels = [p.stat().st_mtime for p in (tree / "boot").glob("vmlinuz-*")]
    if not kernels:
        raise Failed("cannot date the live image: there is no kernel in it")
    return int(max(kernels))


@contextmanager
def dated(epoch: int) -> Iterator[None]:
    """Have the tools that run meanwhile date what they make."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(epoch)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def stamp(root: Path) -> None:
    """Date a folder and all that is in it by SOURCE_DATE_EPOCH: tools only ever lower dates to that."""
    epoch = int(os.environ[VARIABLE])
    for path in (root, *root.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def normalise(tree: Path) -> None:
    """Take the day of its making out of a root filesystem. Needs SOURCE_DATE_EPOCH."""
    shadow = tree / "etc/shadow"
    if shadow.exists():
        shadow.write_text(without_dates(shadow.read_text(), int(os.environ[VARIABLE]) // DAY))
    _compile_again(tree)


def without_dates(shadow: str, day: int) -> str:
    """Return the text of /etc/shadow with another day, since 1970, of the last password changes (shadow(5))."""
    rows = [line.split(":") for line in shadow.splitlines()]
    return "".join(":".join([*row[:2], str(day), *row[3:]]) + "\n" for row in rows)


def _compile_again(tree: Path) -> None:
    """Compile what is compiled: Debian's byte code holds its source's time, which is about to change."""
    sources = []
    for compiled in sorted((tree / "usr/lib").glob("python3*/**/__pycache__/*.pyc")):
        source = compiled.parent.parent / (compiled.name.split(".")[0] + ".py")
        if source.exists():
            sources.append("/" + source.relative_to(tree).as_posix())
    if sources:
        compile_all = ["python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-i", "-"]
        # Sets of constants are stored in the order of their hashes.
        run(["chroot", tree, *compile_all], input="\n".join(sources) + "\n", env={"PYTHONHASHSEED": "0"})
