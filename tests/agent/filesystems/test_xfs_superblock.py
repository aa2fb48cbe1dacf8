"""What lvpack reads of XFS, and that mkfs.xfs makes the same again of it; on files, by the real mkfs.xfs and xfs_db."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import xfs, xfs_rebuild, xfs_superblock
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, MIB, TIB
from lvpack_builder.lab.qemu import create_disk

pytestmark = pytest.mark.starts_processes

KINDS = {
    "as the tools make it": (),
    "RHEL 8": ("-m", "bigtime=0,inobtcount=0"),
    "RHEL 7": ("-m", "bigtime=0,inobtcount=0,reflink=0,finobt=0", "-i", "sparse=0"),
    "version 4": ("-m", "crc=0,finobt=0", "-i", "size=256", "-n", "ftype=0"),
    "version 4, old": ("-m", "crc=0,finobt=0", "-i", "attr=1,projid32bit=0", "-l", "lazy-count=0", "-n", "ftype=0"),
    "owners": ("-m", "rmapbt=1"),
    "blocks of 1 KiB": ("-b", "size=1024", "-n", "size=8192", "-i", "maxpct=7"),
    "caseless": ("-n", "version=ci"),
    "on RAID": ("-d", "su=64k,sw=4", "-l", "su=32k"),
    "large inodes": (
        "-i",
        "size=1024",
        "-s",
        "size=4096",
        "-L",
        "a label",
        "-m",
        "uuid=" + "-".join(["12345678"] + ["1234"] * 3 + ["123456789abc"]),
    ),
}


def make(path: Path, size: int, *options: str) -> Path:
    create_disk(path, size)
    run(["mkfs.xfs", "-q", *options, path])
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_one_has_the_same_features(kind: str, tmp_path: Path) -> None:
    block = xfs_superblock.read(str(make(tmp_path / "old", 2 * GIB, *KINDS[kind])))
    small = make(tmp_path / "new", GIB, *block.mkfs_options(512 * MIB))
    made = xfs_superblock.read(str(small))
    assert made.size == 512 * MIB < block.size
    for name in xfs_superblock.Superblock.__dataclass_fields__:
        if name not in ("blocks", "log_start", "group_blocks", "groups", "log_blocks", "free_blocks", "inodes"):
            assert getattr(made, name) == getattr(block, name), name
    assert made.features() == block.features()


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_group_is_of_the_size_of_those_of_the_source(kind: str, tmp_path: Path) -> None:
    block = xfs_superblock.read(str(make(tmp_path / "old", 40 * GIB, *KINDS[kind])))
    small = str(make(tmp_path / "new", GIB, *block.mkfs_options(512 * MIB)))
    xfs_superblock.set_group_blocks(small, block.group_blocks)
    made = xfs_superblock.read(small)
    assert (made.size, made.groups, made.group_blocks) == (512 * MIB, 1, block.group_blocks)
    assert made.features() == block.features()
    xfs.check(small)
    # xfs_db reads no superblock whose checksum is wrong without a word.
    assert run(["xfs_db", "-r", "-c", "sb 0", "-c", "p agblklog", small]).stderr == ""


def test_the_log_is_that_of_the_size_of_the_source(tmp_path: Path) -> None:
    old = make(tmp_path / "old", 400 * GIB)
    block = xfs_superblock.read(str(old))
    made = xfs_superblock.read(str(make(tmp_path / "new", GIB, *block.mkfs_options(512 * MIB))))
    assert made.log_blocks == block.log_blocks > 64 * MIB // block.block_size
    assert block.minimum() > block.log_blocks * block.block_size + 32 * MIB


@pytest.mark.parametrize(
    ("size", "groups", "block_size", "new"),
    [
        (3 * TIB, 4, 1024, 1200 * MIB),  # a log has at most 2^20 blocks
        (9 * TIB, 9, 4096, 2400 * MIB),  # and less than 2 GiB
        (300 * GIB, 4000, 4096, 300 * MIB),  # four groups of 75 MiB, half a log of 150 MiB
        (100 * GIB, 40, 4096, 2580 * MIB),  # one as large as two of the source: two would leave a second one of 20 MiB
    ],
)
def test_mkfs_makes_what_it_is_asked_for(size: int, groups: int, block_size: int, new: int, tmp_path: Path) -> None:
    old = xfs_superblock.read(str(make(tmp_path / "old", GIB, "-b", f"size={block_size}")))
    blocks = size // block_size
    block = replace(old, blocks=blocks, groups=groups, group_blocks=blocks // groups)
    small = make(tmp_path / "new", 4 * GIB, "-f", *block.mkfs_options(new))
    made = xfs_superblock.read(str(small))
    assert made.size == new
    xfs.check(str(small))


def test_the_checksum_is_that_of_the_rfc() -> None:
    assert xfs_superblock.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert xfs_superblock.crc32c(bytes(range(32))) == 0x46DD794E


def test_what_it_needs_grows_with_what_is_in_use(tmp_path: Path) -> None:
    image = make(tmp_path / "image", 4 * GIB)
    minimum, written = xfs_rebuild.estimated(str(image))
    assert minimum == xfs_superblock.LEAST
    assert xfs_superblock.LEAST_LOG < written < 3 * xfs_superblock.LEAST_LOG
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 4096)
    proto = tmp_path / "proto"
    rows = "\n".join(f"file-{n} ---644 0 0 {file}" for n in range(600))
    proto.write_text(f"/stand/diag\n0 0\nd--755 0 0\n{rows}\n$\n")
    full = make(tmp_path / "full", 4 * GIB, "-p", str(proto))
    needed, copied = xfs_rebuild.estimated(str(full))
    assert 600 * MIB < needed - xfs_superblock.LEAST_LOG < 700 * MIB
    assert 600 * MIB < copied - written < 660 * MIB


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("agf 1", "addr refcntroot", "write numrecs 1"), "damaged"),
        (("agi 0", "write count 77"), "damaged"),
    ],
)
def test_what_a_copy_would_not_keep_is_not_copied(command: tuple[str, ...], why: str, tmp_path: Path) -> None:
    image = make(tmp_path / "image", GIB)
    run(["xfs_db", "-x", *(word for line in command for word in ("-c", line)), image])
    with pytest.raises(xfs_rebuild.Fixed, match=why):
        xfs_rebuild.estimated(str(image))


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (16 + 7, b"\5", "realtime"),
        (48, bytes(8), "log is on another device"),
        (101, b"\xb3", "version 3"),
        (216, b"\x80", r"features that this version does not know \(incompatible 0x80000000\)"),
        (218, b"\x03", r"features that this version does not know \(metadir, zoned\)"),
        (212, b"\x80", r"features that this version does not know \(read-only 0x80000000\)"),
        (219, b"\x1b", "xfs_repair has to look at it first"),
    ],
)
def test_what_lvpack_does_not_know_is_not_copied(offset: int, value: bytes, why: str, tmp_path: Path) -> None:
    image = make(tmp_path / "image", GIB)
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    with pytest.raises(xfs_rebuild.Fixed, match=why):
        xfs_rebuild.estimated(str(image))


def test_one_of_version_4_is_looked_at_or_named(tmp_path: Path) -> None:
    """Kernels may leave version 4 out (CONFIG_XFS_SUPPORT_V4); that of this machine decides which of both is tested."""
    image = make(tmp_path / "image", GIB, "-m", "crc=0,finobt=0")
    try:
        assert xfs_rebuild.estimated(str(image))[0] == xfs_superblock.LEAST
    except xfs_rebuild.Fixed as why:
        assert str(why).startswith("it is of version 4, which newer kernels do not mount; it cannot be looked at: ")


def test_no_superblock_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no superblock"):
        xfs_superblock.read(str(create_disk(tmp_path / "nothing", MIB)))


def test_quotas_are_mounted_as_they_were() -> None:
    values = dict.fromkeys(xfs_superblock.Superblock.__dataclass_fields__, 0) | {"uuid": b"", "label": b""}
    block = xfs_superblock.Superblock(**values | {"quotas": 0x001 | 0x002 | 0x008})  # type: ignore[arg-type]
    assert block.quota_options() == "uquota,pqnoenforce"
    assert block.quota_kinds() == ["u", "p"]
