"""Runs in the live image: makes files as servers have them on XFS, or says what there is.

usage: age_xfs.py FOLDER makes FOLDER; age_xfs.py FOLDER described writes what is in it to /host/described, pickled.
lab/xfslab.py of qemu-tests stands beside this file.
"""

import os
import pickle
import sys
from pathlib import Path

from lab import xfslab
from lvpack_agent.sizes import MIB
from lvpack_agent.trees import extents


def age(folder: Path) -> None:
    folder.mkdir()
    (folder / "dice").mkdir()
    xfslab.Dice(folder / "dice", 20, reflink=True, v5=True, late=False).tree(150)
    # journald: 8 MiB at a time are allocated, and the file is mapped and written.
    for number in range(4):
        with (folder / f"system@{number}.journal").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 * MIB)
            file.write(os.urandom(3_333_333))
    # PostgreSQL: logs of 16 MiB, zeros at first, then used again under new names. MariaDB: a log that is preallocated.
    for number in range(3):
        with (folder / f"00000001000000000000000{number}").open("wb") as file:
            file.write(bytes(16 * MIB))
            file.seek(0)
            file.write(os.urandom(MIB * number))
    with (folder / "ib_logfile0").open("wb") as file:
        extents.allocate(file.fileno(), 0, 48 * MIB)
        file.truncate(48 * MIB)
        file.write(os.urandom(MIB))
    # A virtual machine: sparse, and a clone of it that has gone on by itself.
    with (folder / "vm.img").open("wb") as file:
        file.truncate(20 << 30)
        for at in range(0, 20 << 30, 1 << 30):
            os.pwrite(file.fileno(), os.urandom(2 * MIB), at)
    with (folder / "vm.img").open("rb") as old, (folder / "clone.img").open("wb") as new:
        extents.clone(old.fileno(), 0, 0, new.fileno(), 0)
        for at in range(0, 20 << 30, 3 << 30):
            os.pwrite(new.fileno(), os.urandom(MIB), at + MIB // 2)


if __name__ == "__main__":
    if sys.argv[2:]:
        Path("/host/described").write_bytes(pickle.dumps(xfslab.described(Path(sys.argv[1]))))
    else:
        age(Path(sys.argv[1]))
