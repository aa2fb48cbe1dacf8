"""Whose store is on a scratch device; and that a store on the share is never too small for its origin."""

import json
import struct
from pathlib import Path

import pytest

from lvpack_agent.devices import emptiness
from lvpack_agent.errors import Disagreement, Refused
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, KIB, MIB
from lvpack_agent.snapshots import device_store, file_store, scratch_label, stores
from lvpack_agent.snapshots.scratch_label import Label
from lvpack_agent.undo import Undo
from lvpack_builder.lab.qemu import create_disk
from tests.agent.builders.devices import device


def labelled(owner: str) -> bytes:
    return (scratch_label.LABEL + json.dumps({"owner": owner, "token": ""}).encode()).ljust(MIB, b"\0")


def md_superblock(sectors: int) -> bytes:
    """Return the superblock of a member of an md array, version 1.2 (kernel: include/uapi/linux/raid/md_p.h)."""
    words = bytearray(256)
    struct.pack_into("<III", words, 0, 0xA92B4EFC, 1, 0)
    words[16:32] = bytes(range(16))
    words[32:34] = b"m0"
    struct.pack_into("<QIIQII", words, 64, 1_700_000_000, 1, 0, sectors - 2048, 0, 2)
    struct.pack_into("<QQQ", words, 128, 2048, sectors - 2048, 4 * KIB // 512)
    words[168:184] = bytes(range(16, 32))
    struct.pack_into("<I", words, 220, 2)  # devices
    words += struct.pack("<HH", 0, 0xFFFF)
    total = sum(struct.unpack("<65I", words))
    struct.pack_into("<I", words, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return bytes(words)


def test_a_store_takes_every_chunk_of_its_origin_and_its_tables() -> None:
    for origin in (4 * KIB, MIB, 10 * GIB):
        chunks = origin // (4 * KIB)
        tables = -(-chunks // 256) + 2
        assert stores.size_for(origin) >= (chunks + tables) * 4 * KIB


def test_label_says_whose_store_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    path.write_bytes(bytes(MIB))
    assert scratch_label.read_label(str(path)) is None
    path.write_bytes(labelled("U-1"))
    device_store.DeviceStore(device(path), "U-1").release()
    assert scratch_label.read_label(str(path)) == Label(owner=scratch_label.FREE)
    path.write_bytes(scratch_label.LABEL + b"{broken")
    assert scratch_label.read_label(str(path)) == Label(owner="an unknown machine")


@pytest.mark.starts_processes
@pytest.mark.parametrize("label", [scratch_label.FREE, "U-1"])
def test_a_label_does_not_make_a_member_of_an_array_an_empty_device(tmp_path: Path, label: str) -> None:
    path = tmp_path / "scratch"
    create_disk(path, 64 * MIB)
    with path.open("r+b") as file:
        file.write(labelled(label)[: 4 * KIB] + md_superblock(64 * MIB // 512))
    assert "linux_raid_member" in run(["blkid", "--probe", path]).stdout
    before = path.read_bytes()
    with pytest.raises(Refused, match="linux_raid_member"), Undo() as undo:
        device_store.DeviceStore(device(path), "U-1").fresh(16 * MIB, undo)
    assert path.read_bytes() == before


@pytest.mark.starts_processes
def test_a_free_device_with_partitions_is_not_empty_and_one_with_an_old_store_is(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    path.write_bytes(labelled(scratch_label.FREE) + b"SnAp" + bytes(range(256)) * 4096)
    assert emptiness.what_holds(device(path)) and not emptiness.what_is_known(device(path))
    with pytest.raises(Refused, match="2 partitions"), Undo() as undo:
        parts = (device(tmp_path / "1"), device(tmp_path / "2"))
        device_store.DeviceStore(device(path, parts), "U-1").fresh(16 * MIB, undo)


def test_a_run_that_put_no_store_on_a_device_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    for content in (b"the only copy", labelled("U-2"), bytes(MIB)):
        path.write_bytes(content)
        device_store.DeviceStore(device(path), "U-1").release()
        assert path.read_bytes() == content


def test_scratch_is_never_on_the_disk_that_is_packed(tmp_path: Path) -> None:
    part = device(tmp_path / "source1")
    source, other = device(tmp_path / "source", (part,)), device(tmp_path / "other")
    for path, words in ((part.path, "on the disk that is packed"), ("/dev/none", "no such disk")):
        with pytest.raises(Refused, match=words):
            device_store.scratch_device((source, other), path, (source,), "U-1")
    assert device_store.scratch_device((source, other), other.path, (source,), "U-1").room() == 63 * MIB


def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    path.write_bytes(labelled("U-1"))
    for keeper in (file_store.FileStore(tmp_path, "store-"), device_store.DeviceStore(device(path), "U-1")):
        with pytest.raises(Disagreement, match="store"), Undo() as undo:
            keeper.again("0123", undo)


def test_a_keeper_drops_its_own_stores_only(tmp_path: Path) -> None:
    for name in ("store-a", "store-b", "store-c", "journal.json", "other-store-a"):
        (tmp_path / name).touch()
    keeper = file_store.FileStore(tmp_path, "store-")
    keeper.drop("a")
    assert {path.name for path in tmp_path.glob("store-*")} == {"store-b", "store-c"}
    keeper.release()
    assert {path.name for path in tmp_path.iterdir()} == {"journal.json", "other-store-a"}


def test_a_store_on_the_share_is_a_file_of_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "attached", lambda path, undo: f"loop of {path.name}")
    keeper = file_store.FileStore(tmp_path, "store-")
    with Undo() as undo:
        store = keeper.fresh(MIB, undo)
        path = tmp_path / f"store-{store.token}"
        assert path.stat().st_mode & 0o777 == 0o600
        assert keeper.again(store.token, undo) == store
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises(Disagreement, match="it is a link, not a file"):
            keeper.again(store.token, undo)
