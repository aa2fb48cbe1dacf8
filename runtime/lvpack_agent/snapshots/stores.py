"""Copy-on-write stores: what they are, how large, and those in memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent import guarded, resources
from lvpack_agent.processes import run
from lvpack_agent.resources import available_memory
from lvpack_agent.sizes import MIB, round_up
from lvpack_agent.undo import Undo

# What must stay free beside the store: programs and libraries that are in use stay in the page cache, or each step of
# each program is read and unpacked again.
CACHE_RESERVE = 32 * MIB
# e2fsck and resize2fs hold a few bitmaps (an eighth of a byte for each block); when compressors run, they have ended.
TOOLS_MEMORY = 32 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A copy-on-write store: a block device and its size in bytes; place says where it is, token which it is."""

    device: str
    size: int
    place: str
    token: str = ""


def room_for_store() -> int:
    """Return how many bytes of memory a store in RAM may take, in whole MiB."""
    reserve = CACHE_RESERVE + max(TOOLS_MEMORY, resources.worker_count() * resources.WORKER_MEMORY)
    return max(0, available_memory() - reserve) // MIB * MIB


def in_memory(folder: Path, undo: Undo) -> Store:
    """Make a store in RAM: a sparse file on a tmpfs of its own, as a loop device; memory is taken as it fills."""
    size = max(room_for_store(), 4 * MIB)
    folder.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={size + 4 * MIB},mode=0700", "lvpack-store", str(folder)])
    undo.callback(run, ["umount", str(folder)])
    path = folder / "store"
    make_sparse(path, size)
    return Store(device=attached(path, undo), size=size, place="memory")


def size_for(origin: int) -> int:
    """Return how many bytes a store must have so that an origin of that many bytes never overflows it.

    One of 257 chunks of 4 KiB is the store's own (kernel: dm-snap-persistent.c).
    """
    return round_up(origin + origin // 256 + MIB, MIB)


def make_sparse(path: Path, size: int) -> None:
    """Make a new file of size bytes that takes no room yet. Raises OSError as the filesystem does."""
    with os.fdopen(guarded.create(path, mode=0o600), "wb") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def attached(path: Path, undo: Undo) -> str:
    """Return a loop device for a file; undo detaches it."""
    device = run(["losetup", "--find", "--show", str(path)]).stdout.strip()
    undo.callback(run, ["losetup", "--detach", device])
    return device
