"""The mark in the first sector of a disk that is being restored: which image set it shall get.

Nothing takes a disk with it for one that is partitioned or formatted. The same restore takes it again, though it is not
empty.
"""

import hashlib
from pathlib import Path

from lvpack_agent.devices.emptiness import signatures
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.image.manifest import Manifest

_MARK = "lvpack: this disk is not finished: image set"
_SECTOR = 512
# What of a restored disk is not in its head: a GPT has a copy at the end.
_LEFT = {"gpt"}


def of(manifest: Manifest) -> bytes:
    """Return the first sector of a disk that shall get a set."""
    sums = ",".join(image.checksums.stored_sha256 for image in manifest.images)
    which = hashlib.sha256(sums.encode()).hexdigest()
    name = manifest.name.encode("ascii", "replace").decode()[:200]
    return f"{_MARK} {name}, {which}\n".encode().ljust(_SECTOR, b"\0")


def is_left_by(disk: BlockDevice, manifest: Manifest) -> bool:
    """Return whether a disk is what a restore of that very set has left that did not come to its end.

    Partitions that the kernel knows on a disk with a mark come from the copy of a GPT at its end, by which the live
    image's kernel goes if there is nothing else (its parameter gpt). Who has made others has written over the mark.
    """
    if not set(signatures(disk)) <= _LEFT:
        return False
    with Path(disk.path).open("rb") as file:
        return file.read(_SECTOR) == of(manifest)


def stands_alone(head: bytes) -> bool:
    """Return whether the first bytes of a disk hold nothing, or a mark and nothing else."""
    first = head[:_SECTOR]
    return not head[_SECTOR:].strip(b"\0") and (not first.strip(b"\0") or first.startswith(_MARK.encode()))
