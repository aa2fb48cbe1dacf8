"""Where things are: the project's own files and the cache."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Failed


def project_root() -> Path:
    """Return the checkout that this package is installed from (editable)."""
    return Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """Return the folder for what can be made again: $LVPACK_CACHE, or .cache/lvpack in the checkout.

    Raises Failed if it cannot be made.
    """
    path = Path(os.environ.get("LVPACK_CACHE") or project_root() / ".cache/lvpack")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            f"cannot make folder '{path}': {error.strerror}", hint="set LVPACK_CACHE to a folder that can be written"
        ) from error
    return path


def output_dir() -> Path:
    """Return where `lvpack build` puts the live image unless told otherwise."""
    return project_root() / "out"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make a thing of that name in the cache."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
