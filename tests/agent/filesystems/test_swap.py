from pathlib import Path

import pytest

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems import swap
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB


def test_swap_header_and_blkid(blog: Path) -> None:
    header = swap.parse((blog / "swap-head.bin").read_bytes())
    facts = blkid.parse((blog / "blkid-swap.txt").read_text())
    assert header == swap.SwapHeader(page_size=4096, size=512 * MIB, uuid=facts["UUID"], label=b"swap")
    assert (facts["TYPE"], facts["LABEL"]) == ("swap", "swap")
    assert swap.parse(bytes(65536)) is None


@pytest.mark.starts_processes
@pytest.mark.parametrize("label", ["a\nb", "blank ", "gr\udcfcn"])
def test_a_label_that_blkid_does_not_show_as_it_is_is_kept(tmp_path: Path, label: str) -> None:
    device = tmp_path / "swap"
    device.touch(mode=0o600)
    device.write_bytes(bytes(4 * MIB))
    run(["mkswap", "--label", label, str(device)])
    facts, before = blkid.identify(str(device)), swap.read(str(device))
    swap.make(str(device), size=MIB, page_size=4096, uuid=facts["UUID"], label=facts["LABEL"])
    after = swap.read(str(device))
    assert before and after and (after.uuid, after.label) == (before.uuid, before.label)
    assert after.size == MIB
