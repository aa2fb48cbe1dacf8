"""The whole check of an image set."""

from collections.abc import Callable
from pathlib import Path

from lvpack_agent.image import check
from lvpack_agent.image.manifest import Manifest
from lvpack_builder.sets.find import image_set


def verify(path: Path, say: Callable[[str], None]) -> Manifest:
    """Check a set in full. Raises Failed or Refused that says what is wrong with it."""
    return check.check_set(image_set("verify", path), say)
