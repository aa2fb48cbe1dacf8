"""XFS made anew where it is hard: many shared pieces, large hints, attributes that are not listed, odd geometries."""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent.filesystems import xfs_rebuild, xfs_superblock
from lvpack_agent.filesystems.xfs_superblock import LEAST
from lvpack_agent.processes import run
from lvpack_agent.sizes import GIB, KIB, MIB
from lvpack_agent.trees import inodes
from lvpack_agent.trees.inodes import Attributes

pytestmark = pytest.mark.starts_processes

PIECES = 6000
ACL, NOBODY = "system.posix_acl_access", 0xFFFFFFFF


@pytest.fixture
def old(tmp_path: Path) -> Iterator[str]:
    with xfslab.memory(tmp_path / "memory") as folder, xfslab.device(folder / "old", 2 * GIB) as device:
        run(["mkfs.xfs", "-q", device])
        yield device


@pytest.fixture
def new(old: str, tmp_path: Path) -> Iterator[str]:
    with xfslab.device(tmp_path / "memory/new", 2 * GIB) as device:
        yield device


def anew(new: str, old: str, tmp_path: Path) -> list[str]:
    """Make the filesystem anew at 5 % above what it needs, as lvpack does; return in what it differs."""
    size = round(xfs_rebuild.estimated(old)[0] * 1.05) // MIB * MIB
    return xfs_rebuild.rebuild(new, old, size, tmp_path / "work", True, lambda: None)


def test_many_shared_pieces_take_no_longer_than_few(new: str, old: str, tmp_path: Path) -> None:
    """As of an image of a virtual machine, copied by `cp`: each piece was once looked for from the first on."""
    with xfslab.mounted(old, tmp_path / "mounted") as root:
        with (root / "image").open("wb") as file:
            for number in range(PIECES):
                os.pwrite(file.fileno(), b"%d" % number, number * 8 * KIB)
        run(["cp", "--reflink=always", root / "image", root / "copy"])
    begun = time.monotonic()
    assert anew(new, old, tmp_path) == []
    assert time.monotonic() - begun < 60
    with xfslab.mounted(new, tmp_path / "mounted", "ro") as root:
        assert os.statvfs(root).f_bfree > os.statvfs(root).f_blocks / 2


def test_a_large_hint_costs_room_only_while_files_are_written(new: str, old: str, tmp_path: Path) -> None:
    hint = 32 * MIB
    with xfslab.mounted(old, tmp_path / "mounted") as root:
        (root / "large").write_bytes(os.urandom(MIB) * 400)
        for folder in ("a", "b"):
            (root / folder).mkdir()
            for number in range(20):
                fd = os.open(root / folder / str(number), os.O_CREAT | os.O_WRONLY)
                inodes.give(fd, Attributes(flags=inodes.EXTENT_SIZE, hint=hint))
                os.write(fd, b"x" * 5000)
                os.ftruncate(fd, 5000)
                os.fsync(fd)
                os.close(fd)
            run(["xfs_io", "-c", "fpunch 8k 32m", *(str(p) for p in (root / folder).iterdir())])
    assert anew(new, old, tmp_path) == []


def test_a_filesystem_of_inodes_has_room_for_them(new: str, old: str, tmp_path: Path) -> None:
    """As rsnapshot or a spool of empty files makes it: of the smaller one they take more than a quarter (maxpct).

    After a power cut the superblock does not know of them yet.
    """
    run(["mkfs.xfs", "-q", "-f", "-i", "size=2048", old])
    with xfslab.mounted(old, tmp_path / "mounted") as root:
        for folder in range(16):
            (root / f"{folder}").mkdir()
            with xfslab.opened(root / f"{folder}", os.O_DIRECTORY) as fd:
                for number in range(2500):
                    os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        run(["xfs_io", "-x", "-c", "shutdown -f", root])
    block = xfs_superblock.read(old)
    assert block.inode_percent == 25 and block.inodes < 1000
    assert xfs_rebuild.rebuild(new, old, LEAST, tmp_path / "work", True, lambda: None) == []
    assert xfs_superblock.read(new).inodes * block.inode_size > LEAST / 4
    with xfslab.mounted(new, tmp_path / "mounted") as root:
        for number in range(2500):
            (root / f"new{number}").touch()


def test_who_may_do_what_is_kept_where_the_kernel_lists_no_attributes(new: str, old: str, tmp_path: Path) -> None:
    """More than 64 KiB of names: the mask of the ACL, which is in the mode, would give the group more than it had."""
    with xfslab.mounted(old, tmp_path / "mounted") as root:
        path = root / "file"
        path.touch()
        # u::rw-,u:5:rw-,g::---,m::rw-,o::r-- (kernel: include/uapi/linux/posix_acl_xattr.h)
        rows = ((0x01, 6, NOBODY), (0x02, 6, 5), (0x04, 0, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY))
        os.setxattr(path, ACL, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows))
        for number in range(300):
            os.setxattr(path, f"user.{number:0250}", b"")
        with pytest.raises(OSError, match="too long"):
            os.listxattr(path)
        acl = os.getxattr(path, ACL)
    assert anew(new, old, tmp_path) == ["'/file' differs in the extended attributes, not all of which can be read"]
    with xfslab.mounted(new, tmp_path / "mounted", "ro") as root:
        assert os.getxattr(root / "file", ACL) == acl


def test_what_mkfs_does_not_make_keeps_its_size_and_is_named(old: str) -> None:
    run(["mkfs.xfs", "-q", "-f", "-b", "size=65536", "-m", "rmapbt=1", old])
    with pytest.raises(xfs_rebuild.Fixed, match=r"mkfs\.xfs does not make it smaller: .*too small"):
        xfs_rebuild.estimated(old)
