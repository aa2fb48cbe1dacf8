"""Which unfinished in-place runs keep a machine from being packed."""

from pathlib import Path

from lvpack_agent.backup.journal_read import folder, former_name, read_object, unfinished
from lvpack_agent.backup.journal_record import PROGRESS, RECORD
from lvpack_agent.errors import Refused


def refuse_former(share: Path, vg_uuid: str) -> None:
    """Raise Refused if lvpack 0.1.0 began an in-place run of a machine with that VG and did not finish it.

    The journal of that version does not have the steps, and this version might take others for the same plan.
    """
    former = share / former_name(vg_uuid)
    data = read_object(former / RECORD)
    if data is None:
        return
    progress = read_object(former / PROGRESS) or {}
    if not progress.get("finished"):
        raise Refused(
            f"cannot pack this machine: lvpack {data.get('lvpack')} began an in-place run of VG "
            f"'{data.get('vg')}' (disk {data.get('disk')}) in '{former.name}' on the share, and it is not finished",
            hint="boot the live image of that version with the options of that run to finish it. If that was a clone "
            "of this disk, which does not need the journal any more, move the folder away",
        )


def refuse_unfinished(share: Path, vg_uuid: str, disk: str) -> None:
    """Raise Refused if an in-place run of that disk (as identity() gives it) is not finished: it is half packed."""
    refuse_former(share, vg_uuid)
    own = folder(share, vg_uuid, disk)
    if own in unfinished(share, vg_uuid):
        raise Refused(
            f"cannot pack this machine in overlay mode: its in-place run in '{own.name}' on the share is not finished",
            hint="boot with lvpack.mode=inplace and the options of that run to finish it first",
        )
