"""The whole check of an image set."""

from collections.abc import Callable
from pathlib import Path

from lvpack_agent.image import check
from lvpack_agent.image.manifest import Manifest
from lvpack_builder.sets.find import image_set


def verify(path: Path, say: Callable[[str], None]) -> Manifest:
    """Check a set in full. Raises Failed or Refused that says what is wrong with it."""
    folder = image_set("verify", path)
    manifest = check.read_manifest(folder)
    check.check_images(folder, manifest, say)
    return manifest
