"""Sizes and checksums of what flows past, and of files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.shares.stored import LocalFile, Stored


class Digest:
    """Counts and hashes what flows past."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes | bytearray) -> None:
        """Count and hash a block of data."""
        self._hash.update(data)
        self.size += len(data)

    def hex(self) -> str:
        """Return the SHA-256 of all data so far, in hexadecimal."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksums:
    """Sizes in bytes of an image, as stored and raw, and its SHA-256 as stored.

    The raw bytes have the checksums that zstd and gzip keep: of each frame (RFC 8878, 3.1.1) or member.
    """

    stored_size: int
    stored_sha256: str
    raw_size: int


def sha256_of(path: Path, limit: int | None = None, *, top: Path | None = None) -> str:
    """Return the SHA-256 of a file, in hexadecimal. Raises Failed if it cannot be read.

    limit and top as guarded.opened() has them.
    """
    return sha256_of_stored(LocalFile(path, limit, top))


def sha256_of_stored(stored: Stored) -> str:
    """Return the SHA-256 of a file of a set, in hexadecimal. Raises Failed if it cannot be read."""
    digest = hashlib.sha256()
    for data in stored.blocks():
        digest.update(data)
    return digest.hexdigest()
