"""Where things are: the project's own files and the cache."""

import os
from pathlib import Path


def project_root() -> Path:
    """Return the checkout that this package is installed from (editable)."""
    return Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """Return the folder for what can be made again: $LVPACK_CACHE, or .cache/lvpack in the checkout."""
    path = Path(os.environ.get("LVPACK_CACHE") or project_root() / ".cache/lvpack")
    path.mkdir(parents=True, exist_ok=True)
    return path


def output_dir() -> Path:
    """Return where `lvpack build` puts the live image unless told otherwise."""
    return project_root() / "out"
