"""Swap areas: the header that mkswap(8) writes (kernel: include/linux/swap.h, union swap_header)."""

import struct
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.processes import run

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
_SIGNATURE = b"SWAPSPACE2"
_VERSION_OFFSET = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapHeader:
    """page_size and size (all pages, header included) in bytes."""

    page_size: int
    size: int


def parse(head: bytes) -> SwapHeader | None:
    """Read the first 64 KiB of a device; None if there is no swap area of this byte order."""
    for page_size in PAGE_SIZES:
        if head[page_size - len(_SIGNATURE) : page_size] == _SIGNATURE:
            version, last_page = struct.unpack_from("<II", head, _VERSION_OFFSET)
            if version == 1:
                return SwapHeader(page_size=page_size, size=(last_page + 1) * page_size)
    return None


def read(device: str) -> SwapHeader | None:
    """Return the header of a swap area on a device; None if there is none."""
    with Path(device).open("rb") as file:
        return parse(file.read(PAGE_SIZES[-1]))


def make(device: str, *, size: int, page_size: int, uuid: str, label: str) -> None:
    """Make a swap area of size bytes at the start of a device."""
    arguments = ["mkswap", "--force", "--pagesize", str(page_size)]
    arguments += ["--uuid", uuid] if uuid else []
    arguments += ["--label", label] if label else []
    run([*arguments, device, str(size // 1024)])
