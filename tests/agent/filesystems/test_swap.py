from pathlib import Path

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems import swap
from lvpack_agent.sizes import MIB


def test_swap_header_and_blkid(blog: Path) -> None:
    header = swap.parse((blog / "swap-head.bin").read_bytes())
    assert header == swap.SwapHeader(page_size=4096, size=512 * MIB)
    facts = blkid.parse((blog / "blkid-swap.txt").read_text())
    assert (facts["TYPE"], facts["LABEL"]) == ("swap", "swap")
    assert swap.parse(bytes(65536)) is None
