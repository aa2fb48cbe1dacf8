"""The files of an image set: their names, and small ones written."""

import os
from pathlib import Path

MANIFEST, SUMS, RESTORE = "manifest.json", "SHA256SUMS", "RESTORE.txt"
PARTIAL = ".partial"


def image_name(index: int, suffix: str) -> str:
    """Return the name of the image of a packed disk."""
    return f"disk{index or ''}.img{suffix}"


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a small file of the set and sync it."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def copy_layout(layout: Path, folder: Path) -> None:
    """Copy the files of a folder into layout/ of an image set, and sync each."""
    for path in sorted(layout.iterdir()):
        write_text(folder, f"layout/{path.name}", path.read_text(encoding="utf-8", errors="surrogateescape"))


SUFFIXES = {"zstd": ".zst", "gzip": ".gz", "none": ""}


def decompressor(name: str) -> list[str]:
    """Return the command that decompresses a file of that name, [] if it is not compressed."""
    return {".zst": ["zstd", "--decompress", "--stdout", "--quiet"], ".gz": ["gzip", "--decompress", "--stdout"]}.get(
        Path(name).suffix, []
    )
