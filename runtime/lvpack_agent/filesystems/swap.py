"""Swap areas: the header that mkswap(8) writes (kernel: include/linux/swap.h, union swap_header)."""

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from lvpack_agent.processes import run

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
_SIGNATURE = b"SWAPSPACE2"
_VERSION_OFFSET = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapHeader:
    """page_size and size (all pages, header included) in bytes. uuid and label are as they stand in the header."""

    page_size: int
    size: int
    uuid: str = ""
    label: bytes = b""


def parse(head: bytes) -> SwapHeader | None:
    """Read the first 64 KiB of a device; None if there is no swap area of this byte order."""
    for page_size in PAGE_SIZES:
        if head[page_size - len(_SIGNATURE) : page_size] == _SIGNATURE:
            version, last_page, _, uuid, label = struct.unpack_from("<III16s16s", head, _VERSION_OFFSET)
            if version == 1:
                return SwapHeader(
                    page_size=page_size,
                    size=(last_page + 1) * page_size,
                    uuid=str(UUID(bytes=uuid)),
                    label=label.partition(b"\0")[0],
                )
    return None


def read(device: str) -> SwapHeader | None:
    """Return the header of a swap area on a device; None if there is none."""
    with Path(device).open("rb") as file:
        return parse(file.read(PAGE_SIZES[-1]))


def make(device: str, *, size: int, page_size: int, uuid: str, label: str) -> None:
    """Make a swap area of size bytes at the start of a device.

    label is as blkid(8) shows it. Where the device still has the area of that UUID its label is kept to the byte: blkid
    shows a line break in it as "^J".
    """
    if (old := read(device)) and old.uuid == uuid.lower():
        label = old.label.decode("utf-8", "surrogateescape")
    arguments = ["mkswap", "--force", "--pagesize", str(page_size)]
    arguments += ["--uuid", uuid] if uuid else []
    arguments += ["--label", label] if label else []
    run([*arguments, device, str(size // 1024)])
