"""One image set of a machine a day, unless it gets a name: a machine that boots lvpack again and again is packed once.

A day is one of UTC. The machine is known by the UUID of its VG, which stays whatever is renamed.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_agent.image.files import MANIFEST, PARTIAL


def refuse_second(share: Path, vg_uuid: str, now: float) -> None:
    """Raise Refused if the share holds a finished set of that VG that was made today; now in seconds since 1970."""
    for folder in _candidates(share, now):
        made = _made(folder / MANIFEST, vg_uuid)
        if made.startswith(time.strftime("%Y-%m-%dT", time.gmtime(now))):
            raise Refused(
                f"cannot back up this machine again today: image set '{folder.name}' of its VG {vg_uuid} was made at "
                f"{made}",
                hint="if nobody asked for a second one, the machine boots lvpack instead of its disk: change its boot "
                "order. Else give lvpack.name=NAME, or remove that set",
            )


def _candidates(share: Path, now: float) -> Iterator[Path]:
    """Yield the sets that may be of today, by the stamp in their name (this machine's clock) or the server's clock.

    A manifest can be large, and a share can hold thousands: the others are not read.
    """
    stamp, midnight = time.strftime("-%Y%m%dT", time.gmtime(now)), now // 86400 * 86400
    try:
        folders = sorted(share.iterdir())
    except OSError:
        return  # what keeps this machine from reading the share is said when it writes there
    for folder in folders:
        try:
            if not folder.name.endswith(PARTIAL) and (
                stamp in folder.name or (folder / MANIFEST).stat().st_mtime >= midnight
            ):
                yield folder
        except OSError:
            continue  # no image set, or none that this machine may read


def _made(manifest: Path, vg_uuid: str) -> str:
    """Return when a set was made if its source had that VG, else ""; also for a set that cannot be read."""
    try:
        text = manifest.read_text(encoding="utf-8")
        if vg_uuid not in text:
            return ""
        data = json.loads(text)
        uuids = [vg["uuid"] for vg in data["plan"]["source"]["vgs"]]
        return str(data["created"]) if vg_uuid in uuids else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""  # this run does not depend on what others left there
