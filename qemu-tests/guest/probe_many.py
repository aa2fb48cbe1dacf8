"""In the live image: make a VG of many LVs on all disks, plan it, and tell how long that takes beside its tools.

python3 probe_many.py LVS DISK… prints one line of JSON: LVs, disks, programs started, seconds in all and in programs.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lvpack_agent import main, processes
from lvpack_agent.processes import run


def make(count: int, disks: list[str]) -> None:
    for disk in disks:
        run(["pvcreate", "-q", disk])
    run(["vgcreate", "-q", "--physicalextentsize", "1m", "many", *disks])
    for number in range(count):
        name = f"lv{number}"
        run(["lvcreate", "-q", "-y", "-Wn", "-l", "8", "-n", name, "many", disks[number % len(disks)]])
        run(["mkfs.ext4", "-q", f"/dev/many/{name}"])
    run(["vgchange", "-an", "many"])
    for disk in disks:
        run(["udevadm", "trigger", "--settle", disk])


def measure(count: int, disks: list[str]) -> None:
    """Plan in this process, and count what its programs take, from before their start to their end."""
    inside, calls = 0.0, Counter[str]()
    communicate = processes._communicate

    class Counted(processes.Process):  # type: ignore[type-arg]
        def __init__(self, argv: Any, *args: Any, **kwargs: Any) -> None:
            nonlocal inside
            calls[Path(argv[0]).name] += 1
            begun = time.monotonic()
            super().__init__(argv, *args, **kwargs)
            inside += time.monotonic() - begun

    def counted(*args: Any) -> Any:
        nonlocal inside
        begun = time.monotonic()
        try:
            return communicate(*args)
        finally:
            inside += time.monotonic() - begun

    vars(sys.modules["subprocess"])["Popen"] = Counted
    vars(processes)["_communicate"] = counted
    begun = time.monotonic()
    status = main.main(["--cmdline", "lvpack.action=plan lvpack.onerror=poweroff"])
    seconds = time.monotonic() - begun
    found = {"lvs": count, "disks": len(disks), "seconds": seconds, "programs": inside, "calls": dict(calls)}
    print(json.dumps(found), flush=True)
    sys.exit(status)


if __name__ == "__main__":
    number, *paths = sys.argv[1:]
    make(int(number), paths)
    measure(int(number), paths)
