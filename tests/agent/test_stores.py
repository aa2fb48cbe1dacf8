"""Whose store is on a scratch device; and that a store on the share is never too small for its origin."""

from pathlib import Path

import pytest

from lvpack_agent import stores
from lvpack_agent.disks import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.sizes import GIB, KIB, MIB
from lvpack_agent.stores import Label


def device(path: Path, parts: tuple[BlockDevice, ...] = ()) -> BlockDevice:
    return BlockDevice(
        path=str(path),
        type="disk",
        size=64 * MIB,
        sector_size=512,
        read_only=False,
        model="",
        serial="",
        wwn="",
        fstype="",
        label="",
        uuid="",
        parts=parts,
    )


def test_a_store_takes_every_chunk_of_its_origin_and_its_tables() -> None:
    for origin in (4 * KIB, MIB, 10 * GIB):
        chunks = origin // (4 * KIB)
        tables = -(-chunks // 256) + 2
        assert stores.size_for(origin) >= (chunks + tables) * 4 * KIB


def test_label_says_whose_store_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    path.write_bytes(bytes(MIB))
    assert stores.read_label(str(path)) is None
    store = stores.DeviceStore(device(path), "U-1")
    store.release()
    assert stores.read_label(str(path)) == Label(owner=stores.FREE)
    path.write_bytes(stores.LABEL + b"{broken")
    assert stores.read_label(str(path)) == Label(owner="an unknown machine")


def test_scratch_is_never_on_the_disk_that_is_packed(tmp_path: Path) -> None:
    part = device(tmp_path / "source1")
    source, other = device(tmp_path / "source", (part,)), device(tmp_path / "other")
    for path, words in ((part.path, "on the disk that is packed"), ("/dev/none", "no such disk")):
        with pytest.raises(Refused, match=words):
            stores.scratch_device((source, other), path, (source,), "U-1")
    assert stores.scratch_device((source, other), other.path, (source,), "U-1").room() == 63 * MIB
