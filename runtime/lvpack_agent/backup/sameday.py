"""One image set of a machine a day, unless it gets a name: a machine that boots lvpack again and again is packed once.

A day is one of UTC. The machine is known by the UUID of its VG, which stays whatever is renamed. Where this machine's
clock and the server's are more than a day apart, a set is of today only if both say so: a clock that always stands at
the same date, as with a dead battery, would else take each set for one of today.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress

from lvpack_agent import guarded
from lvpack_agent.backup.clock import DAY, Clocks, stamp
from lvpack_agent.errors import Refused
from lvpack_agent.image.files import MANIFEST, MANIFEST_MOST, PARTIAL
from lvpack_agent.session import Session
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.stored import whole


def refuse_second(share: Share, vg_uuid: str, clocks: Clocks, session: Session) -> None:
    """Raise Refused if the share holds a finished set of that VG that was made today.

    A folder whose manifest is not what it may be keeps nobody from a backup: it is a warning.
    """
    for name in _candidates(share, clocks):
        try:
            made = _made(share, name, vg_uuid)
        except (guarded.Odd, ValueError) as odd:
            cause = odd.strerror if isinstance(odd, OSError) else odd
            session.warn(f"folder {name!a} on the share is passed over: its {MANIFEST} is damaged: {cause}")
            continue
        if made.startswith(time.strftime("%Y-%m-%dT", time.gmtime(clocks.now))):
            # Each boot of such a machine is refused: they have one log, not one each.
            session.called = f"{name}.again"
            raise Refused(
                f"cannot back up this machine again today: image set '{name}' of its VG {vg_uuid} was made at {made}",
                hint="if nobody asked for a second one, the machine boots lvpack instead of its disk: change its boot "
                "order. Else give lvpack.name=NAME, or remove that set",
            )


def doubts(share: Share, vg_uuid: str, clocks: Clocks) -> list[str]:
    """Return what speaks against this machine's clock, a sentence each; the sets of that VG may."""
    later = ""
    with suppress(OSError):  # as in _candidates()
        for name in share.names():
            if name.endswith(PARTIAL) or (stamp(name) or 0) <= clocks.now + DAY:
                continue
            with suppress(OSError, ValueError):
                if _made(share, name, vg_uuid):
                    later = name
    return clocks.doubts(later)


def _candidates(share: Share, clocks: Clocks) -> Iterator[str]:
    """Yield the sets that may be of today, by the stamp in their name (this machine's clock) or the server's clock.

    A manifest can be large, and a share can hold thousands: the others are not read.
    """
    today = time.strftime("-%Y%m%dT", time.gmtime(clocks.now))
    midnight = (clocks.now if clocks.agree or clocks.server is None else clocks.server) // DAY * DAY
    try:
        names = share.names()
    except OSError:
        return  # what keeps this machine from reading the share is said when it writes there
    for name in names:
        try:
            if name.endswith(PARTIAL):
                continue
            if share.modified(share.folder / name / MANIFEST) >= midnight or (clocks.agree and today in name):
                yield name
        except OSError:
            continue  # no image set, or none that this machine may read


def _made(share: Share, name: str, vg_uuid: str) -> str:
    """Return when a set was made if its source had that VG, else "".

    "" also if there is none, or none that this machine may read. Raises Odd if the manifest is no file that lvpack
    would read, ValueError if it is damaged.
    """
    try:
        text = whole(share.source(share.folder / name / MANIFEST, MANIFEST_MOST), MANIFEST_MOST)
    except guarded.Odd:
        raise
    except OSError:
        return ""
    if vg_uuid.encode() not in text:
        return ""
    try:
        data = json.loads(text)
        uuids = [vg["uuid"] for vg in data["plan"]["source"]["vgs"]]
        return str(data["created"]) if vg_uuid in uuids else ""
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (LookupError, TypeError):
        raise ValueError("it has no plan, or no date") from None
