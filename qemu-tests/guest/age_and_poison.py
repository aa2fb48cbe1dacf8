"""In the live image: age filesystems at random, poison what their maps call free, and see that nothing is missing.

python3 age_and_poison.py SEED ROUNDS DEVICE… prints a line of JSON for each device and round, and fails at the first
file that is not as it was. After the last round each filesystem is filled to its end, and looked at once more: in
partclone's map of exFAT the last cluster is always free.
"""

import hashlib
import json
import os
import random
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems import content, ext
from lvpack_agent.filesystems.free import free_ranges
from lvpack_agent.image import blockmap
from lvpack_agent.layout.content import EXT_TYPES
from lvpack_agent.layout.ranges import Range
from lvpack_agent.processes import run

PLACE = Path("/run/aged")
MIB = 1 << 20
CHECKS = {
    "xfs": ["xfs_repair", "-n"],
    "vfat": ["fsck.fat", "-n"],
    **{kind: ["e2fsck", "-f", "-n"] for kind in EXT_TYPES},
}


def mount(device: str, kind: str) -> None:
    PLACE.mkdir(exist_ok=True)
    run(["mount", "-t", kind, device, PLACE])


def age(chance: random.Random) -> None:
    """Make, grow, cut, rename and remove files until about half of the room is used, often more in between."""
    for _ in range(150):
        files = [p for p in PLACE.rglob("*") if p.is_file()]
        room = os.statvfs(PLACE)
        full = 1 - room.f_bavail / room.f_blocks
        if files and (full > 0.85 or chance.random() < 0.35 * full + 0.1):
            victim = chance.choice(files)
            if chance.random() < 0.7:
                victim.unlink()
            else:
                os.truncate(victim, chance.randrange(victim.stat().st_size + 1))
            continue
        folder = PLACE.joinpath(*(f"d{chance.randrange(4)}" for _ in range(chance.randrange(3))))
        folder.mkdir(parents=True, exist_ok=True)
        size = min(int(chance.paretovariate(0.6) * 3000), int(room.f_bavail * room.f_bsize * 0.3))
        with (folder / f"f{chance.randrange(1000)}").open("ab") as file:
            if chance.random() < 0.2:
                file.truncate(file.tell() + chance.randrange(MIB))
                file.seek(0, 2)
            file.write(chance.randbytes(size))
            if chance.random() < 0.2:
                file.flush()
                os.fsync(file.fileno())


def fill(chance: random.Random) -> None:
    """Write until there is no room left."""
    with (PLACE / "full").open("wb", buffering=0) as file:
        for size in (4096, 512):
            with suppress(OSError):
                while file.write(chance.randbytes(size)):
                    pass


def inventory() -> dict[str, str]:
    found = {}
    for path in sorted(PLACE.rglob("*")):
        name = str(path.relative_to(PLACE))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def free_of(device: str, kind: str) -> tuple[Range, ...]:
    if kind in EXT_TYPES:
        ext.check(device)
        facts, block = blkid.identify(device), ext.read(device)
        return blockmap.free_in(content.read(device, facts, block, estimate=False))
    return free_ranges(device, kind)


def poison(device: str, ranges: Iterable[Range]) -> None:
    with Path(device).open("r+b") as disk:
        for part in ranges:
            disk.seek(part.start)
            left = part.count
            while left:
                count = min(left, MIB)
                disk.write(b"\xaa" * count)
                left -= count
        disk.flush()
        os.fsync(disk.fileno())
    run(["blockdev", "--flushbufs", device])


def main(seed: str, rounds: str, *devices: str) -> None:
    for device in devices:
        kind = blkid.identify(device)["TYPE"]
        chance = random.Random(f"{seed} {kind}")
        for number in range(int(rounds) + 1):
            full = number == int(rounds)
            mount(device, kind)
            (fill if full else age)(chance)
            before = inventory()
            run(["umount", PLACE])
            ranges = free_of(device, kind)
            poison(device, ranges)
            run([*CHECKS[kind], device])
            mount(device, kind)
            after = inventory()
            run(["umount", PLACE])
            assert after == before, (device, kind, number, set(before.items()) ^ set(after.items()))
            size = int(Path(f"/sys/block/{Path(device).name}/size").read_text()) * 512
            free = sum(part.count for part in ranges)
            row = {"kind": kind, "round": number, "full": full, "files": len(before), "free": free / size}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
