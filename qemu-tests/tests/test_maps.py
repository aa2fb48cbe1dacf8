"""Maps of used blocks: on filesystems that were aged at random, none but free blocks is left out."""

import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path

import pytest

from lab.runs import Lab
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.qemu import Drive, create_disk, node

pytestmark = pytest.mark.timeout(1800)

GUEST = Path(__file__).parents[1] / "guest"
# Type → how it is made, and its size in MiB.
KINDS = {
    "ext4": (["mkfs.ext4", "-q", "-F", "-b", "1024"], 64),
    "xfs": (["mkfs.xfs", "-q"], 320),
    "vfat": (["mkfs.vfat"], 64),
}


def disks(folder: Path, *kinds: str) -> list[Drive]:
    """Make a disk with an empty filesystem of each type."""
    drives = []
    for kind in kinds:
        words, size = KINDS[kind]
        path = create_disk(folder / f"{kind}.img", size * MIB)
        run([*words, path])
        drives.append(Drive(path=path))
    return drives


@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.full)])
def test_poison_in_free_blocks_hurts_no_file(image: LiveImage, lab: Lab, rounds: int) -> None:
    seed = os.environ.get("LVPACK_SEED") or secrets.token_hex(4)
    print("seed", seed)  # shown if it fails
    drives = disks(lab.folder, *KINDS)
    shutil.copy(GUEST / "age_and_poison.py", lab.share)
    devices = " ".join(node(number) for number in range(len(drives)))
    command = f"PYTHONDONTWRITEBYTECODE=1 python3 /host/age_and_poison.py {seed} {rounds} {devices}"
    answer = helper.in_live_image(image, drives, lab.share, command, lab.folder / "console.log", 1500)
    assert answer.status == 0, answer.output
    rows = [json.loads(line) for line in answer.output.splitlines() if line.startswith("{")]
    assert [row["kind"] for row in rows] == [kind for kind in KINDS for _ in range(rounds + 1)]
    assert all(row["files"] > 5 and row["free"] > 0.05 for row in rows if not row["full"]), rows
    # ext4 and XFS keep some room for themselves.
    assert all(row["free"] < (0.001 if row["kind"] == "vfat" else 0.2) for row in rows if row["full"]), rows


# A machine that lost power: XFS that was shut down with a log.
CUT_OFF = r"""
set -e
mkdir -p /run/x && mount -t xfs /dev/vda /run/x && head -c 3000000 /dev/urandom > /run/x/file && sync
python3 -c 'import fcntl, os, struct
fd = os.open("/run/x/file", os.O_RDWR | os.O_APPEND)
os.write(fd, b"late" * 100000); os.fsync(fd)
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 1))'  # XFS_IOC_GOINGDOWN, log flushed
umount /run/x
cat > /run/try.py << 'END'
from pathlib import Path
from lvpack_agent.filesystems import free
def look(device, kind):
    try:
        print(kind, sum(r.count for r in free.free_ranges(device, kind)) > 10_000_000)
    except free.Unmapped as cause:
        print(kind, cause)
look("/dev/vda", "xfs")
free.replay("/dev/vda", "xfs", Path("/run/replay"))
look("/dev/vda", "xfs")
free.replay("/dev/vdb", "vfat", Path("/run/replay"))
look("/dev/vdb", "vfat")
END
python3 /run/try.py
mount -t xfs /dev/vda /run/x && tail -c 400000 /run/x/file | md5sum && umount /run/x
"""


def test_what_no_map_is_known_of_is_not_taken_for_free(image: LiveImage, lab: Lab) -> None:
    fat12 = create_disk(lab.folder / "fat12.img", 8 * MIB)
    run(["mkfs.vfat", "-F", "12", fat12])
    drives = [*disks(lab.folder, "xfs"), Drive(path=fat12)]
    answer = helper.in_live_image(image, drives, lab.share, CUT_OFF, lab.folder / "console.log", 300)
    assert answer.status == 0, answer.output
    *said, late = answer.output.strip().splitlines()
    assert said == ["xfs its log is not replayed", "xfs True", "vfat it is FAT12"], answer.output
    assert late.split()[0] == hashlib.md5(b"late" * 100_000).hexdigest()
