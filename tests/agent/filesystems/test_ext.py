import shutil
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import ext, resize
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.ranges import Range
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB, human, round_up
from tests.agent.builders.recordings import LAYOUTS


def test_dumpe2fs(blog: Path) -> None:
    block = ext.parse((blog / "dumpe2fs-tmp.txt").read_text())
    assert (block.block_size, block.block_count, block.clean) == (4096, 131072, True)
    text = (blog / "dumpe2fs-tmp.txt").read_text()
    free = next(line for line in text.splitlines() if line.startswith("Free blocks:"))
    # Of each of the four inode tables of 512 blocks nothing was ever used, but for a block of the first.
    assert sum(r.count for r in block.free) == int(free.split(":")[1]) + 4 * 512 - 1
    assert block.tables == (Range(start=73, count=4 * 512),)
    assert not block.external_journal
    elsewhere = text.replace("Journal inode: ", "Journal device:")
    assert ext.parse(elsewhere).external_journal
    unchecked = ext.parse(text.replace(" metadata_csum\n", "\n"))
    assert sum(r.count for r in unchecked.free) == int(free.split(":")[1])
    assert block.groups == ((0, 13), (32768, 0), (65536, 0), (98304, 0))
    assert block.has_inodes_beyond(0) and not block.has_inodes_beyond(32768 * 4096)


def test_a_filesystem_with_its_journal_elsewhere() -> None:
    block = ext.parse((LAYOUTS / "external-journal/dumpe2fs-vdb1.txt").read_text())
    assert "has_journal" in block.features and block.clean


@pytest.fixture
def filesystem(tmp_path: Path) -> str:
    """An ext2 of 16 MiB with two files, made by mke2fs."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "one").write_text("first")
    (files / "two").write_text("second")
    run(["mkfs.ext2", "-q", "-b", "1024", "-d", str(files), str(tmp_path / "fs"), "16M"])
    return str(tmp_path / "fs")


def damage(device: str) -> None:
    """Let both files have one and the same block, which no program repairs without a word."""
    [block] = run(["debugfs", "-R", "blocks /one", device]).stdout.split()
    run(["debugfs", "-w", "-R", f"set_inode_field /two block[0] {block}", device])


@pytest.mark.starts_processes
def test_damage_is_told_by_a_check_and_once_by_a_repair(filesystem: str) -> None:
    ext.check(filesystem)
    assert ext.repair(filesystem) == ext.Repaired(), "there is nothing to say of a clean one"
    damage(filesystem)
    with pytest.raises(Failed, match=r"cannot trust the filesystem on '.*': .*ultiply-claimed"):
        ext.check(filesystem)
    assert "ultiply-claimed" in ext.repair(filesystem).damage
    ext.check(filesystem)
    assert ext.repair(filesystem) == ext.Repaired()


@pytest.mark.starts_processes
def test_a_filesystem_without_lost_and_found_gets_none_unless_it_is_needed(filesystem: str) -> None:
    run(["debugfs", "-w", "-R", "rmdir lost+found", filesystem])
    assert ext.repair(filesystem) == ext.Repaired()
    assert "lost+found" not in names(filesystem)
    ext.check(filesystem)
    run(["debugfs", "-w", "-R", "unlink /two", filesystem])  # its inode stays, in no directory
    done = ext.repair(filesystem)
    assert "Unattached inode" in done.damage and "/lost+found not found" in done.damage
    assert "lost+found" in names(filesystem)


@pytest.mark.starts_processes
def test_what_is_corrected_without_a_question_is_told(filesystem: str) -> None:
    """A count of links that is wrong is corrected by e2fsck -p; wrong counts of free blocks any mount corrects."""
    run(["debugfs", "-w", "-R", "set_super_value free_blocks_count 77", filesystem])
    run(["debugfs", "-w", "-R", "set_super_value free_inodes_count 7", filesystem])
    assert ext.repair(filesystem) == ext.Repaired()
    run(["debugfs", "-w", "-R", "set_inode_field /one links_count 3", filesystem])
    done = ext.repair(filesystem)
    assert "ref count is 3, should be 1.  FIXED" in done.corrected and not done.damage
    ext.check(filesystem)


# What e2fsck 1.47.0 says of one sector that cannot be read: of a directory, a bitmap, an inode table, the journal, and
# the superblock; with -p, or -n; its status.
UNREAD = [
    (4, "Error reading block 6 (Input/output error).  \n", ""),
    (4, "Error reading block 5 (Input/output error) while reading inode and block bitmaps.  \n", ""),
    (1, "Error reading block 42 (Input/output error) while getting next inode from scan.  Ignore error? yes\n", ""),
    (8, "Pass 1\n", "e2fsck 1.47.0\ne2fsck: Can't read a block bitmap while retrying to read bitmaps for x\n"),
    (12, "", "x: Input/output error reading journal superblock\n"),
    (8, "x: \nThe superblock could not be read", "e2fsck: Input/output error while trying to open x\n"),
    (8, "", "e2fsck: Attempt to read block from filesystem resulted in short read while trying to open x\n"),
]


@pytest.mark.starts_processes
@pytest.mark.parametrize(("status", "out", "err"), UNREAD)
def test_a_block_that_cannot_be_read_is_no_damage_to_repair(
    filesystem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, out: str, err: str
) -> None:
    """With -y e2fsck ignores the error, writes zeros over the block and throws away what it has lost with it."""
    fake, asked = tmp_path / "e2fsck", tmp_path / "asked"
    (tmp_path / "out").write_text(out)
    (tmp_path / "err").write_text(err)
    fake.write_text(f'#!/bin/sh\ncd {tmp_path}; printf "%s\\n" "$2" >> asked; cat out; cat err >&2; exit {status}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin")
    for does in (ext.repair, ext.check):
        with pytest.raises(ext.Unread, match=r"cannot read the filesystem on '.*': e2fsck says: .*(rror|read)") as told:
            does(filesystem)
        assert "do not repair it" in told.value.hint
    assert asked.read_text().split() == ["-p", "-n"]


@pytest.mark.starts_processes
def test_what_only_a_complete_repair_meets_is_no_repair(
    filesystem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(filesystem)
    real = shutil.which("e2fsck")
    says = '[ "$2" = -y ] && echo "Error reading block 6 (Input/output error).  Ignore error? yes"'
    (tmp_path / "e2fsck").write_text(f'#!/bin/sh\n{says}\nexec {real} "$@"\n')
    (tmp_path / "e2fsck").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin")
    with pytest.raises(ext.Unread, match="Ignore error"):
        ext.repair(filesystem)


@pytest.mark.starts_processes
def test_a_name_that_says_that_a_block_cannot_be_read_is_a_name(filesystem: str, tmp_path: Path) -> None:
    name = "e2fsck: Error reading block 6"
    commands = [f'mkdir "{name}"', f'mkdir "{name}/{name}"', f'clri "{name}/{name}"']
    run(["debugfs", "-w", "-f", "-", filesystem], input="\n".join(commands) + "\n")
    done = ext.repair(filesystem)
    assert name in done.corrected


def names(device: str) -> list[str]:
    return run(["debugfs", "-R", "ls -p /", device]).stdout.replace("/", " ").split()


@pytest.mark.starts_processes
def test_files_are_read_without_mounting(filesystem: str) -> None:
    assert ext.read_file(filesystem, "/one") == "first"
    assert ext.read_file(filesystem, "/three") == ""


@pytest.mark.starts_processes
def test_what_is_no_small_file_is_not_read(filesystem: str, tmp_path: Path) -> None:
    """A sparse file of 8 GiB would take as much memory."""
    small = tmp_path / "small"
    small.write_text("x" * ext.MOST_TEXT)
    commands = ["mknod fifo p", "mknod zero c 1 5", "symlink link one", f"write {small} most", f"write {small} sparse"]
    commands += ["set_inode_field /sparse size 8589934592"]
    run(["debugfs", "-w", "-f", "-", filesystem], input="\n".join(commands) + "\n")
    assert "Type: FIFO" in run(["debugfs", "-R", "stat /fifo", filesystem]).stdout
    assert [ext.read_file(filesystem, f"/{name}") for name in ("fifo", "zero", "link", "sparse")] == [""] * 4
    assert len(ext.read_file(filesystem, "/most")) == ext.MOST_TEXT


@pytest.mark.starts_processes
@pytest.mark.parametrize("label", ["a\nb", "\n\nGroup 0: (Blo", "\nBlock size: 9", "a\r\n\rb", "gr\udcfcn\n"])
def test_a_label_with_line_breaks_is_no_fact(tmp_path: Path, label: str) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    uuid = "7b2b9b2e-6d0f-4f7f-9a55-1f2c3d4e5f60"
    for path, name in ((plain, "plain"), (odd, label)):
        options = ["-q", "-b", "1024", "-U", uuid, "-E", f"hash_seed={uuid}", "-L", name]
        run(["mkfs.ext4", *options, "-M", f"/{name}\n\nJournal inode: 9", str(path), "16M"])
    assert ext.read(str(odd)) == ext.read(str(plain))


@pytest.mark.starts_processes
def test_a_filesystem_gets_the_size_that_was_planned(filesystem: str, tmp_path: Path) -> None:
    said: list[str] = []
    least = ext.minimum(filesystem, 1024)
    assert least < 4 * MIB
    size = round_up(least, MIB)
    findings = resize.resize_filesystem(
        filesystem, "LV one", Content(type="ext2", size=size), tmp_path / "mount", said.append, lambda: None
    )
    assert findings == []
    assert said == [f"shrink LV one from 16.0 MiB to {human(size)}"], "no directory is beyond, so none is looked at"
    block = ext.read(filesystem)
    assert (block.block_count * block.block_size, block.clean) == (size, True)
    ext.check(filesystem)
    assert ext.read_file(filesystem, "/two") == "second"
