"""In the live image: no mapping of a source takes a write, and a scratch device that somebody needs is refused.

python3 guard.py SOURCE SOURCE SCRATCH MDADM prints what was tried; a failed assertion is its end.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from lvpack_agent.devices import blockdev, lsblk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.overlay import shrink
from lvpack_agent.probe import open as probe
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_agent.snapshots import overlay, scratch_label, stores
from lvpack_agent.snapshots.device_store import DeviceStore
from lvpack_agent.snapshots.scratch_label import FREE
from lvpack_agent.undo import Undo

SCRATCH = Path("/run/lvpack")
OWNER = "U-1"


def takes(device: str) -> bool:
    """Return whether a device takes a write; what is there is written again, but for one bit."""
    with suppress(OSError), Path(device).open("r+b", buffering=0) as file:
        [byte] = file.read(1)
        file.seek(0)
        file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())
        return True
    return False


def digest(devices: list[str]) -> str:
    for device in devices:
        run(["blockdev", "--flushbufs", device])
    return hashlib.sha256(b"".join(Path(device).read_bytes() for device in devices)).hexdigest()


def mappings_of_a_source(devices: list[str]) -> None:
    run(["vgcreate", "-q", "two", *devices])
    run(["lvcreate", "-q", "-y", "-l", "8", "-n", "root", "two", devices[0]])
    run(["mkfs.ext4", "-q", "/dev/two/root"])
    run(["vgchange", "-q", "-an", "two"])
    before = digest(devices)
    with Undo() as undo:
        blockdev.set_read_only(tuple(d for d in lsblk.read() if d.path in devices), undo)
        overlaid = undo.enter_context(overlay.overlay(devices, lambda at: stores.in_memory(SCRATCH / "store", at)))
        sources = [(device, None) for device in overlaid.devices]
        source = undo.enter_context(probe.opened(sources, "source", repair=True))
        [uuid] = source.lvs
        old = shrink._original(uuid, source, devices, SCRATCH / "old", undo)
        for name in ("lvpack-disks", f"lvpack-original-{uuid}"):
            device = f"/dev/mapper/{name}"
            assert run(["blockdev", "--getro", device]).stdout == "1\n", name
            assert not takes(device), name
            print(f"{name} takes no write")
        for device in (old, source.lvs[uuid], *overlaid.devices):
            assert takes(device), device
    assert digest(devices) == before


def refused(device: BlockDevice, owner: str) -> str:
    try:
        with Undo() as undo:
            DeviceStore(device, owner).fresh(16 * MIB, undo)
    except Refused as error:
        return error.message
    return ""


def scratch_devices(path: str, mdadm: str) -> None:
    [device] = [d for d in lsblk.read() if d.path == path]
    store = DeviceStore(device, OWNER)
    with Undo() as undo:
        # A store leaves what it likes, signatures included.
        run(["mkswap", store.fresh(16 * MIB, undo).device])
    assert refused(device, "U-2").endswith(f"the store of an unfinished run of {OWNER}")
    store.release()
    assert refused(device, OWNER) == "", "it is free, and what a store left in it is no matter"
    DeviceStore(device, OWNER).release()
    for version in ("1.2", "1.0"):
        words = ["--run", "--metadata", version, "--level", "1", "--raid-devices", "2", path, "missing"]
        run([mdadm, "--create", "/dev/md7", *words])
        for owner in (FREE, OWNER):
            assert "in use by md7" in refused(device, owner)
        run([mdadm, "--stop", "/dev/md7"])
        label = scratch_label.read_label(path)
        assert label and label.owner == FREE, "md has left the label alone"
        for owner in (FREE, OWNER):
            assert "linux_raid_member" in refused(device, owner)
        run([mdadm, "--examine", path])
        run([mdadm, "--zero-superblock", path])
        print(f"a member of an array (metadata {version}) was refused")


if __name__ == "__main__":
    first, second, scratch, mdadm = sys.argv[1:]
    mappings_of_a_source([first, second])
    scratch_devices(scratch, mdadm)
