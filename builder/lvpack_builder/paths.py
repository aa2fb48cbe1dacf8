"""Where things are: the project's own files, the cache, the live image. In a checkout, or installed from a wheel."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Failed

PACKAGE = Path(__file__).resolve().parent


def checkout(package: Path = PACKAGE) -> Path | None:
    """Return the checkout that this package is run from (an editable install); None if it came in a wheel."""
    root = package.parents[1]
    return root if package == root / "builder" / package.name and (root / "pyproject.toml").is_file() else None


def elements_dir() -> Path:
    """Return the folder of lvpack's own diskimage-builder elements; the wheel has them in the package."""
    return (checkout() or PACKAGE) / "elements"


def cache_dir() -> Path:
    """Return the folder for what can be made again.

    It is $LVPACK_CACHE, else .cache/lvpack in the checkout, else lvpack in $XDG_CACHE_HOME or ~/.cache.
    Raises Failed if it cannot be made.
    """
    path = Path(os.environ.get("LVPACK_CACHE") or _usual_cache())
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            f"cannot make folder '{path}': {error.strerror}", hint="set LVPACK_CACHE to a folder that can be written"
        ) from error
    return path


def _usual_cache() -> Path:
    if root := checkout():
        return root / ".cache/lvpack"
    # The XDG Base Directory Specification has paths that are not absolute ignored.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".cache") / "lvpack"
    except RuntimeError as error:
        raise Failed(f"cannot choose a cache folder: {error}", hint="set LVPACK_CACHE to a folder") from error


def output_dir() -> Path:
    """Return where the live image is unless told otherwise: out in the checkout, else lvpack-image where one stands."""
    root = checkout()
    return root / "out" if root else Path.cwd() / "lvpack-image"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make a thing of that name in the cache."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
