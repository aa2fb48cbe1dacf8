"""Extents moved by pvmove(8), with the order of writes that a power loss needs.

pvmove copies by a mirror and then changes the metadata, without a flush in between (seen with LVM 2.03.31): a disk
with a volatile cache may keep the metadata and lose the data. So pvmove is killed once its mirror runs; when the
mirror is in sync the disk is flushed; only then is pvmove called again to take the mirror apart. It does that in two
commits: with the first the extents have their new places, and its temporary LV consists of errors; with the second
that LV is gone.

Moving itself is tested in guests: qemu-tests/tests/test_inplace.py.
"""

import re
import time
from collections.abc import Callable

from lvpack_agent.errors import Failed
from lvpack_agent.layout.extents import Move
from lvpack_agent.lvm import commands as lvm
from lvpack_agent.lvm import vgreport
from lvpack_agent.processes import PIPE, run, spawn
from lvpack_agent.progress import Progress

POLL_SECONDS = 0.2
START_SECONDS = 120.0
# Longer than any run; "+" has pvmove wait before it looks at its mirror for the first time.
NEVER = "+1000000"


def under_way(vg: vgreport.Vg) -> vgreport.Lv | None:
    """Return the temporary LV of a pvmove that is not finished."""
    return next((lv for lv in vg.lvs if "pvmove" in lv.role.split(",")), None)


def left_over(vg: vgreport.Vg) -> vgreport.Lv | None:
    """Return the temporary LV of a pvmove that lacks only its last commit; pvmove(8) itself forgets about it."""
    return next((lv for lv in vg.lvs if re.fullmatch(r"pvmove\d+", lv.name) and lv.layout == "error"), None)


def is_of(lv: vgreport.Lv, move: Move) -> bool:
    """Return whether the temporary LV of a pvmove moves exactly these extents."""
    wanted = [f"{first}-{first + move.count - 1}" for first in (move.source, move.target)]
    return [[r.rpartition(":")[2] for r in s.ranges] for s in lv.segments] == [wanted]


def begin(vg: str, pv: str, move: Move) -> vgreport.Lv:
    """Start to move extents of a PV and return the temporary LV whose mirror copies them."""
    first, last = (f"{pv}:{e}-{e + move.count - 1}" for e in (move.source, move.target))
    # anywhere: the target may be on the PV that the extents come from. It is just as large as what is moved.
    arguments = lvm.arguments(["pvmove", "--interval", NEVER, "--alloc", "anywhere", first, last], [pv])
    process = spawn(arguments, stdout=PIPE, stderr=PIPE)
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # The report waits for the VG's lock, which pvmove keeps until the mirror runs.
            [found] = [v for v in vgreport.read([pv]) if v.name == vg]
            if lv := under_way(found):
                return lv
            if process.poll() is not None:
                break
    finally:
        process.kill()
        _, said = process.communicate()
    raise Failed(
        f"cannot move extents of VG '{vg}': {said.decode(errors='replace').strip() or 'pvmove does not start'}"
    )


def finish(lv: vgreport.Lv, pv: str, size: int, flush: Callable[[], None], say: Callable[[str], None]) -> None:
    """Wait for the mirror of a pvmove, size in bytes, flush, and take the mirror apart."""
    name = lv.device.removeprefix("/dev/mapper/")
    progress = Progress("move", size, say)
    while (share := in_sync(run(["dmsetup", "status", name]).stdout)) < 1:
        progress.at(int(share * size))
        time.sleep(POLL_SECONDS)
    flush()
    lvm.command(["pvmove", "--interval", "0"], [pv])
    flush()


def in_sync(status: str) -> float:
    """Return how much of a mirror is copied, from 0 to 1, from its `dmsetup status`.

    The line is `START LENGTH mirror DEVICES DEVICE… DONE/REGIONS 1 HEALTH LOG…` (kernel: dm-raid1.c, mirror_status()).
    Raises Failed if a side of the mirror has failed.
    """
    words = status.split()
    devices = int(words[3])
    done, regions = words[4 + devices].split("/")
    health = words[6 + devices]
    if set(health) != {"A"}:
        raise Failed(
            f"cannot move extents: the disk had an error (mirror state {health}, see dmesg)",
            hint="the data is where it was; check the disk, then boot lvpack with the same options again",
        )
    return int(done) / int(regions)
