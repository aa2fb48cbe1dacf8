"""What time it is, as far as it can be known: a machine whose battery is dead has a date, and a wrong one.

Nothing rests on this machine's clock alone. The file server has another one, and file times on the share are its.
"""

import re
import time
from calendar import timegm
from contextlib import suppress
from dataclasses import dataclass

from lvpack_agent.shares.server_clock import built, shown
from lvpack_agent.shares.share import Share

DAY = 86400.0
_STAMP = re.compile(r"-(\d{8}T\d{6})Z(?:-\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The time in seconds since 1970 by this machine's clock and by the server's; server is None if it does not tell.

    built is the date of the live image, which is in the past.
    """

    now: float
    server: float | None
    built: float

    @property
    def agree(self) -> bool:
        """Whether nothing speaks against this machine's clock."""
        return self.server is None or abs(self.now - self.server) <= DAY

    def doubts(self, later: str) -> list[str]:
        """Return a sentence for each thing that speaks against this machine's clock.

        later is the name of an image set of this machine with a later date, "" if there is none.
        """
        found, now = [], shown(self.now)
        if self.now < self.built - DAY:
            found.append(f"it says {now}, and this live image is of {shown(self.built)}")
        if not self.agree and self.server is not None:
            found.append(f"it says {now}, and the file server's {shown(self.server)}")
        if later:
            found.append(f"it says {now}, and image set '{later}' of this machine is on the share")
        return [f"the clock of this machine may be wrong, and with it dates and names: {doubt}" for doubt in found]


def read(share: Share) -> Clocks:
    """Look at all clocks; the share is one that can be written."""
    server = None
    with suppress(OSError):  # what keeps this machine from writing to the share is said when it must
        server = share.now()
    return Clocks(now=time.time(), server=server, built=built())


def stamp(name: str) -> float | None:
    """Return the time in the name that a set gets by itself, HOST-UTCSTAMP; None if there is none."""
    if not (found := _STAMP.search(name)):
        return None
    try:
        return timegm(time.strptime(found[1], "%Y%m%dT%H%M%S"))
    except ValueError:
        return None
