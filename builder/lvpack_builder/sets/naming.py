"""What the name of a set tells: its machine, whether a backup gave it, and when.

Tested by tests/builder/test_list.py.
"""

import re

from lvpack_agent.backup.clock import DAY, stamp
from lvpack_agent.image.files import PARTIAL
from lvpack_agent.printable import printable

_STAMPS = re.compile(r"(-\d{8}T\d{6}Z(-\d+)?)+$")
# What follows the name of a set in the name of a log: refused, as there is a set of that day.
_AGAIN = ".again"


def machine_of(name: str) -> str:
    """Return what the machine of a set is called by: the name without the stamps that a backup puts behind it."""
    name = name.removesuffix(PARTIAL)
    while (shorter := _STAMPS.sub("", name.removesuffix(_AGAIN))) != name:
        name = shorter
    return printable(name)


def is_stamped(name: str) -> bool:
    """Return whether a name is one that a backup gives by itself, finished or not."""
    return bool(_STAMPS.search(name.removesuffix(PARTIAL)))


def begun(name: str, now: float) -> int | None:
    """Return when the backup of a set began, in seconds since 1970; None if its name has no time, or one to come."""
    found = stamp(name.removesuffix(PARTIAL))
    return None if found is None or found > now + DAY else int(found)
