"""Runs in the live image: trees by the dice, and quotas, on an XFS that is made anew; says what differs.

usage: copy_trees.py OLD NEW FIRST LAST; both devices are overwritten.

lab/xfslab.py of qemu-tests stands beside this file.
"""

import os
import sys
from pathlib import Path

from lab import xfslab
from lvpack_agent.filesystems import xfs, xfs_rebuild
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_agent.trees import inodes, quotas

# What mkfs.xfs is told, whether files can share blocks there, whether times go to 2486; of version 5 or not.
KINDS = (
    ((), True, True, True),
    (("-m", "crc=0,finobt=0"), False, False, False),
    (("-m", "crc=0,finobt=0", "-b", "size=512", "-n", "ftype=0"), False, False, False),
    (("-n", "version=ci", "-m", "rmapbt=1"), True, True, True),
    (("-m", "bigtime=0,inobtcount=0,reflink=0,finobt=0", "-i", "sparse=0"), False, False, True),
    (("-b", "size=1024"), True, True, True),
    (("-i", "exchange=1", "-n", "parent=1"), True, True, True),
    (("-b", "size=16384"), True, True, True),
)
MOUNT = Path("/run/trees")
LIMITS = (
    "limit -u bsoft=1m bhard=50m isoft=10 ihard=20000 1234",
    "limit -u bhard=1g 99999",
    "limit -g isoft=5 77",
    "limit -p bsoft=2m bhard=1t 42",
    "timer -u -b 3days",
    "timer -p -bir 200days",
)


def trees(old: str, new: str, number: int) -> None:
    options, reflink, late, version5 = KINDS[number % len(KINDS)]
    run(["mkfs.xfs", "-f", "-q", *options, old])
    with xfslab.mounted(old, MOUNT / "old") as root:
        xfslab.Dice(root, number, reflink=reflink, v5=version5, late=late).tree(40)
    xfs_rebuild.estimated(old)
    told = xfs_rebuild.rebuild(new, old, 400 * MIB, MOUNT, True, lambda: None)
    xfs.check(new)
    with xfslab.mounted(old, MOUNT / "old", "ro") as was, xfslab.mounted(new, MOUNT / "new", "ro") as now:
        before, after = xfslab.described(was), xfslab.described(now)
    different = [
        path
        for path in {**before, **after}
        if after.get(path) != xfslab.forgiven(path, before.get(path), after.get(path))
    ]
    print(f"tree {number} {options}: {len(before)} entries, told {told}, different {different}", flush=True)


def with_quotas(old: str, new: str) -> None:
    run(["mkfs.xfs", "-f", "-q", old])
    with xfslab.mounted(old, MOUNT / "old", "uquota,gqnoenforce,pquota") as root:
        run(["xfs_quota", "-x", *(part for word in LIMITS for part in ("-c", word)), root])
        file = root / "file"
        (root / "nearly nobody's").touch()
        os.chown(root / "nearly nobody's", 0xFFFFFFFE, 0xFFFFFFFE)
        file.touch()
        os.chown(file, 1234, 77)
        with xfslab.opened(file) as fd:
            inodes.set_attributes(fd, inodes.Attributes(project=42))
        file.write_bytes(bytes(3 * MIB))
        run(["sync"])
        # The one timer that is not as long as those of all others.
        run(["xfs_quota", "-x", "-c", "timer -u -b 100days 1234", root])
    told = xfs_rebuild.rebuild(new, old, 400 * MIB, MOUNT, True, lambda: None)
    found = []
    for device in (old, new):
        with xfslab.mounted(device, MOUNT / "old", "ro,uquota,gqnoenforce,pquota") as root:
            said = [run(["xfs_quota", "-x", "-c", f"report -{kind} -n -N -b -i", root]).stdout for kind in "ugp"]
            found.append((said, quotas.read(device, "u"), quotas.read(device, "g"), quotas.read(device, "p")))
    print(f"quotas: {found[0]}, told {told}, the same: {found[0] == found[1]}", flush=True)
    if found[0] != found[1]:
        print(found[1])


if __name__ == "__main__":
    MOUNT.mkdir(exist_ok=True)
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        trees(sys.argv[1], sys.argv[2], number)
    with_quotas(sys.argv[1], sys.argv[2])
