"""Makes a small server on a disk, and says which sectors of the disk are the first of some of its files.

What is odd about it is what a disk may say of itself: labels and a partition's name of two lines, a long host name,
files of that name that are none, no lost+found. One argument: the disk.
"""

import json
import os
import sys
from pathlib import Path

from lvpack_agent.processes import run
from lvpack_agent.trees import extents

ROOT, DATA, OLD = Path("/run/lab/root"), Path("/run/lab/data"), Path("/run/lab/old")
LOST = 200_000
# The sector that the partition begins at.
PARTITION = 2048


def sectors(path: Path, mapping: str) -> int:
    """Return the sector of the disk that a file on an LV of one segment begins at."""
    [line] = run(["dmsetup", "table", mapping]).stdout.splitlines()
    start = PARTITION + int(line.split()[4])
    fd = os.open(path, os.O_RDONLY)
    try:
        return start + extents.of_file(fd)[0].physical // 512
    finally:
        os.close(fd)


def main(disk: str) -> None:
    """Make the disk and print a JSON object of the sectors that a file of each LV, and the directory /, begin at."""
    script = 'label: gpt\nstart=1M, type=E6D6D379-F507-44C2-A23C-238F2A3DF928, name="two\\x0alines"\n'
    run(["sfdisk", "--quiet", disk], input=script)
    run(["udevadm", "settle"])
    run(["vgcreate", "-s", "4m", "bad", f"{disk}1"])
    for name, size in (("sys", "96m"), ("data", "800m"), ("old", "64m"), ("swap", "16m")):
        run(["lvcreate", "-y", "-L", size, "-n", name, "bad"])
    run(["mkfs.ext4", "-q", "-L", "two\nlines", "/dev/bad/sys"])
    run(["mkfs.xfs", "-q", "-L", "x\ny", "/dev/bad/data"])
    run(["mkfs.ext2", "-q", "-b", "1024", "/dev/bad/old"])
    run(["mkswap", "--label", "s\nw", "/dev/bad/swap"])
    for folder, lv in ((ROOT, "sys"), (DATA, "data"), (OLD, "old")):
        folder.mkdir(parents=True)
        run(["mount", f"/dev/bad/{lv}", folder])
    (ROOT / "etc").mkdir()
    (ROOT / "etc/hostname").write_text("h" * 300 + "\n")
    (ROOT / "etc/fstab").write_text("/dev/bad/sys / ext4\n")
    (ROOT / "lost+found").rmdir()
    # LVs are asked for the host name in their order.
    (DATA / "etc").mkdir()
    os.mkfifo(DATA / "etc/hostname")
    (OLD / "etc").mkdir()
    with (OLD / "etc/hostname").open("wb") as file:
        file.truncate(8 << 30)
    files = {"sys": ROOT / "srv/lost and found", "data": DATA / "a/gone", "old": OLD / "some"}
    for seed, path in enumerate(files.values()):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes((n * 7 + seed) % 251 + 1 for n in range(LOST)))
    for folder in (ROOT, DATA, OLD):
        (folder / "kept").write_bytes(b"kept" * 50_000)
    run(["sync"])
    found = {lv: sectors(path, f"bad-{lv}") for lv, path in files.items()}
    found["/"] = sectors(ROOT, "bad-sys")
    for folder in (ROOT, DATA, OLD):
        run(["umount", folder])
    run(["vgchange", "-a", "n", "bad"])
    print("sectors", json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
