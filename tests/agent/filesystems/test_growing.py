"""Filesystems and swap that grow, on files and loop devices: sizes, contents, identity, groups of an XFS."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import ext, growing, swap, xfs, xfs_rebuild, xfs_superblock
from lvpack_agent.layout.content import Content
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, KIB, MIB, human

pytestmark = pytest.mark.starts_processes


def image(path: Path, size: int, *command: str) -> str:
    """Make a sparse file and run a mkfs on it."""
    with path.open("wb") as file:
        file.truncate(size)
    run([*command, path])
    return str(path)


def enlarged(device: str, size: int) -> None:
    os.truncate(device, size)


def content(device: str, size: int) -> Content:
    facts = blkid.identify(device)
    return Content(type=facts["TYPE"], uuid=facts["UUID"], label=facts.get("LABEL", ""), size=size, block_size=4096)


def grow(device: str, old: Content, size: int, folder: Path, groups: int = 0) -> tuple[Content, list[str]]:
    said: list[str] = []
    made = growing.grow(
        device, "data", old, replace(old, size=size), groups, folder / "at", lambda _: None, said.append
    )
    return made, said


@pytest.mark.parametrize("options", [(), ("-O", "^64bit,^metadata_csum"), ("-t", "ext3"), ("-t", "ext2", "-b", "1024")])
def test_ext_grows_and_stays_clean(tmp_path: Path, options: tuple[str, ...]) -> None:
    device = image(tmp_path / "fs", 200 * MIB, "mkfs.ext4", "-q", "-F", "-L", "a label", *options)
    run(["debugfs", "-w", "-R", f"write {__file__} kept", device])
    old = content(device, 200 * MIB)
    enlarged(device, 3 * GIB)
    made, said = grow(device, old, 3 * GIB, tmp_path)
    assert (made.size, said) == (3 * GIB, [])
    ext.check(device)
    assert ext.read_file(device, "/kept") == Path(__file__).read_text()
    after = content(device, made.size)
    assert (after.uuid, after.label) == (old.uuid, old.label)
    assert growing.ext_sizes(device)[0] == 3 * GIB


def test_a_last_group_without_room_for_its_tables_is_left_out(tmp_path: Path) -> None:
    """As resize2fs does it: the filesystem is smaller then than it was told."""
    device = image(tmp_path / "fs", 200 * MIB, "mkfs.ext4", "-q", "-F", "-b", "4096")
    enlarged(device, GIB)
    made, _ = grow(device, content(device, 200 * MIB), 384 * MIB + 64 * KIB, tmp_path)
    assert made.size == 384 * MIB


def test_bigalloc_keeps_its_size_and_that_is_said(tmp_path: Path) -> None:
    """resize2fs refuses to make it larger, unless it is forced."""
    device = image(tmp_path / "fs", 200 * MIB, "mkfs.ext4", "-q", "-F", "-O", "bigalloc")
    old = content(device, 200 * MIB)
    enlarged(device, GIB)
    made, said = grow(device, old, GIB, tmp_path)
    assert made == old and growing.ext_sizes(device)[0] == 200 * MIB
    assert "the ext4 on LV data keeps the 200 MiB" in said[0] and "resize2fs -f" in said[0]


def test_a_damaged_ext_is_not_grown_and_named(tmp_path: Path) -> None:
    device = image(tmp_path / "fs", 200 * MIB, "mkfs.ext4", "-q", "-F")
    run(["debugfs", "-w", "-R", "clri <2>", device])
    old = content(device, 200 * MIB)
    enlarged(device, GIB)
    with pytest.raises(Failed, match=r"cannot grow LV 'data': LV data: e2fsck (found damage|corrected)"):
        grow(device, old, GIB, tmp_path)
    assert growing.ext_sizes(device)[0] == 200 * MIB


def test_swap_is_made_anew_with_its_identity(tmp_path: Path) -> None:
    device = image(tmp_path / "swap", 32 * MIB, "mkswap", "--label", "swap one", "--pagesize", "4096")
    before, old = swap.read(device), content(device, 32 * MIB)
    enlarged(device, 512 * MIB)
    made, _ = grow(device, old, 512 * MIB, tmp_path)
    after = swap.read(device)
    assert before and after and made.size == after.size == 512 * MIB
    assert (after.uuid, after.label, after.page_size) == (before.uuid, before.label, before.page_size)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    with xfslab.memory(tmp_path / "memory") as folder:
        yield folder


@pytest.mark.parametrize(("size", "source_groups", "groups"), [(2 * GIB, 4, 28), (20 * GIB, 4, 32), (20 * GIB, 60, 60)])
def test_xfs_grows_up_to_the_groups_that_it_may_have(
    tmp_path: Path, room: Path, size: int, source_groups: int, groups: int
) -> None:
    """Of 300 MiB it has 4 of 75 MiB; the rest of what was wanted is a warning."""
    with xfslab.device(room / "fs", 20 * GIB) as device:
        run(["mkfs.xfs", "-q", "-L", "data", "-d", "size=300m,agcount=4", device])
        with xfslab.mounted(device, tmp_path / "mounted") as root:
            (root / "kept").write_bytes(b"x" * MIB)
        old = content(device, 300 * MIB)
        made, said = grow(device, old, size, tmp_path, source_groups)
        found = xfs_superblock.read(device)
        assert (found.size, found.groups) == (made.size, groups)
        assert made.size == min(size, groups * 75 * MIB)
        assert [f"grows to {human(made.size)}" in text for text in said] == [True] * (made.size < size)
        with xfslab.mounted(device, tmp_path / "mounted", "ro") as root:
            assert (root / "kept").read_bytes() == b"x" * MIB
        assert content(device, 0).uuid == old.uuid


@pytest.mark.parametrize(("size", "groups"), [(1 * GIB, 1), (20 * GIB, 4), (200 * GIB, 40)])
def test_xfs_that_was_packed_with_a_single_group_has_its_geometry_again(
    tmp_path: Path, room: Path, size: int, groups: int
) -> None:
    with xfslab.device(room / "old", 20 * GIB) as source, xfslab.device(room / "new", 200 * GIB) as device:
        run(["mkfs.xfs", "-q", "-L", "data", source])
        with xfslab.mounted(source, tmp_path / "mounted") as root:
            run(["cp", "-r", "/etc", root / "etc"])
        assert xfs_rebuild.rebuild(device, source, 400 * MIB, tmp_path / "work", True, lambda: None) == []
        before, packed = xfs_superblock.read(source), xfs_superblock.read(device)
        assert (packed.groups, packed.group_blocks) == (1, before.group_blocks)
        xfs.check(device)
        # 200 GiB are more than 32 groups: a source may have had them.
        made, said = grow(device, content(device, 400 * MIB), size, tmp_path, max(before.groups, groups))
        grown = xfs_superblock.read(device)
        assert (made.size, said) == (size, [])
        assert (grown.size, grown.groups, grown.group_blocks) == (size, groups, before.group_blocks)
        if groups > 1:
            run(["xfs_repair", "-n", device])
        with xfslab.mounted(device, tmp_path / "mounted", "ro") as root:
            run(["diff", "-r", "--no-dereference", "/etc", root / "etc"])
