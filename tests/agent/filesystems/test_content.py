"""What volumes hold, as the filesystems' own tools made it."""

from pathlib import Path

import pytest

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems import content, ext
from lvpack_agent.layout.content import EXT_TYPES, Content
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB

pytestmark = pytest.mark.starts_processes

UUID = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def read(path: Path, size: int, *command: str) -> Content:
    """Return what is read of a file of size bytes on which a command has made something."""
    with path.open("wb") as file:
        file.truncate(size)
    run([*command, str(path)])
    facts = blkid.identify(str(path))
    block = ext.read(str(path)) if facts.get("TYPE") in EXT_TYPES else None
    return content.read(str(path), facts, block)


@pytest.mark.parametrize("kind", EXT_TYPES)
def test_ext(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path / "fs", 64 * MIB, f"mkfs.{kind}", "-q", "-b", "4096", "-U", UUID, "-L", "data")
    assert (found.type, found.uuid, found.label, found.size, found.block_size) == (kind, UUID, "data", 64 * MIB, 4096)
    assert found.minimum and found.minimum < 32 * MIB
    free = sum(part.count for part in found.free) * 4096
    assert 40 * MIB < free < 64 * MIB
    assert found.used_beyond(0) == 64 * MIB - free - sum(table_blocks(found)) * 4096


def table_blocks(found: Content) -> list[int]:
    """Return the blocks of each inode table that are in use."""
    free = {n for part in found.free for n in range(part.start, part.end)}
    return [sum(n not in free for n in range(table.start, table.end)) for table in found.tables]


def test_xfs(tmp_path: Path) -> None:
    found = read(tmp_path / "fs", 320 * MIB, "mkfs.xfs", "-q", "-m", f"uuid={UUID}", "-L", "data")
    assert found == Content(type="xfs", uuid=UUID, label="data", size=320 * MIB, block_size=4096)
    assert (found.minimum, found.is_ext) == (None, False)


def test_swap(tmp_path: Path) -> None:
    found = read(tmp_path / "area", 8 * MIB, "mkswap", "--uuid", UUID, "--label", "swap")
    assert found == Content(type="swap", uuid=UUID, label="swap", size=8 * MIB, block_size=4096)


def test_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "zeros", MIB, "true") == Content()
