"""The whole check of an image set."""

from collections.abc import Callable

from lvpack_agent.image import check
from lvpack_agent.image.manifest import Manifest
from lvpack_builder.sets.place import Means, Place, opened_set


def verify(place: Place, how: Means, say: Callable[[str], None]) -> Manifest:
    """Check a set in full. Raises Failed or Refused that says what is wrong with it."""
    with opened_set("verify", place, how) as (folder, source):
        return check.check_set(folder, say, source)
