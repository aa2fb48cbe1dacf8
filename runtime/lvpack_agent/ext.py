"""ext2, ext3 and ext4, by e2fsprogs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvpack_agent.errors import Failed
from lvpack_agent.layout import Range
from lvpack_agent.processes import Completed, run

# e2fsck(8): 1 is "errors corrected", 2 "reboot needed" (only for mounted filesystems), 4 "errors left uncorrected".
CORRECTED, UNCORRECTED = 1, 4

_GROUP = re.compile(r"Group \d+: \(Blocks (\d+)-")
_FREE_INODES = re.compile(r" free blocks, (\d+) free inodes, ")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_ESTIMATE = re.compile(r"minimum size of the filesystem: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Facts of dumpe2fs(8): sizes in bytes and blocks; clean is False with a journal to replay or known errors.

    groups: first block and number of used inodes of each block group.
    """

    block_size: int
    block_count: int
    clean: bool
    features: tuple[str, ...]
    free: tuple[Range, ...]
    groups: tuple[tuple[int, int], ...]

    def has_inodes_beyond(self, size: int) -> bool:
        """Return whether a shrink to size bytes moves inodes: whether groups from there on have any."""
        return any(used for first, used in self.groups if first * self.block_size >= size)


def parse(text: str) -> Superblock:
    """Read the output of dumpe2fs, with or without its groups."""
    head, _, groups = text.partition("\n\n")
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    features = tuple(facts["Filesystem features"].split())
    return Superblock(
        block_size=int(facts["Block size"]),
        block_count=int(facts["Block count"]),
        clean=facts["Filesystem state"] == "clean" and "needs_recovery" not in features,
        features=features,
        free=tuple(_free(groups)),
        groups=tuple(_groups(groups, int(facts["Inodes per group"]))),
    )


def _groups(text: str, inodes: int) -> Iterator[tuple[int, int]]:
    first = 0
    for line in text.splitlines():
        if found := _GROUP.match(line):
            first = int(found[1])
        elif found := _FREE_INODES.search(line):
            yield first, inodes - int(found[1])


def _free(groups: str) -> list[Range]:
    ranges: list[Range] = []
    for line in groups.splitlines():
        if line.startswith("  Free blocks: "):
            for first, last in _RANGE.findall(line.removeprefix("  Free blocks: ")):
                start, end = int(first), int(last or first) + 1
                if ranges and ranges[-1].end == start:
                    ranges[-1] = Range(start=ranges[-1].start, count=end - ranges[-1].start)
                else:
                    ranges.append(Range(start=start, count=end - start))
    return ranges


def read(device: str) -> Superblock:
    """Return the facts of a filesystem, its block bitmap included."""
    return parse(run(["dumpe2fs", device]).stdout)


def minimum(device: str, block_size: int) -> int:
    """Return resize2fs's estimate of the smallest size, in bytes (resize2fs(8), -P)."""
    answer = run(["resize2fs", "-P", device])
    found = _ESTIMATE.search(answer.stdout)
    if not found:
        raise Failed(f"cannot find the minimum size of '{device}': resize2fs says '{answer.stdout.strip()}'")
    return int(found[1]) * block_size


def repair(device: str, tick: Callable[[], None] | None = None) -> str:
    """Replay the journal and check; return what had to be repaired beyond that, "" for nothing."""
    # -p repairs what is safe and is silent about a journal; only what it leaves is a finding for people.
    preen = run(["e2fsck", "-f", "-p", device], ok=(0, CORRECTED, UNCORRECTED, UNCORRECTED | CORRECTED), tick=tick)
    if not preen.status & UNCORRECTED:
        return ""
    full = run(["e2fsck", "-f", "-y", device], ok=(0, CORRECTED), tick=tick)
    return _findings(full)


def check(device: str, tick: Callable[[], None] | None = None) -> None:
    """Check without writing. Raises Failed with e2fsck's words if the filesystem is not clean."""
    answer = run(["e2fsck", "-f", "-n", device], ok=(0, UNCORRECTED, UNCORRECTED | CORRECTED), tick=tick)
    if answer.status:
        raise Failed(f"cannot trust the filesystem on '{device}': {_findings(answer)}")


def _findings(answer: Completed) -> str:
    lines = [line for line in answer.stdout.splitlines() if line.strip() and not line.startswith("Pass ")]
    return "; ".join(lines[:5])


def resize(device: str, size: int, tick: Callable[[], None] | None = None) -> None:
    """Resize to a number of bytes, a multiple of 512."""
    run(["resize2fs", device, f"{size // 512}s"], tick=tick)


def read_file(device: str, path: str) -> str:
    """Return a small text file of a filesystem without mounting it; "" if there is none."""
    return run(["debugfs", "-R", f"cat {path}", device]).stdout
