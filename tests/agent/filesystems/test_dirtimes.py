"""On a real filesystem, by the real tools of this machine; needs root and a loop device."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent.filesystems import dirtimes
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB

# Before 1970, now, after 2038.
TIMES = (-(10**9), 1_700_000_000_123_456_789, 4_000_000_000_000_000_001)


@pytest.mark.starts_processes
@pytest.mark.parametrize("inode_size", [128, 256])
def test_shrinking_keeps_the_times_of_directories(tmp_path: Path, inode_size: int) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with xfslab.device(tmp_path / "image", 200 * MIB) as device:
        _shrink(device, mount, inode_size)


def _shrink(image: str, mount: Path, inode_size: int) -> None:
    # Small blocks make small groups, and 50 directories are spread over all of them.
    run(["mkfs.ext3", "-q", "-b", "1024", "-I", str(inode_size), image])
    run(["mount", image, mount])
    try:
        for number in range(50):
            (mount / f"{number}").mkdir()
            (mount / f"{number}/file").write_text("data")
            time = TIMES[number % 3]
            if inode_size == 128:
                time = abs(time) // 10**9 % (1 << 31) * 10**9
            os.utime(mount / f"{number}", ns=(0, time))
    finally:
        run(["umount", mount])
    run(["e2fsck", "-f", "-y", image], ok=(0, 1))
    before = dirtimes.read(image, mount)
    findings: list[str] = []
    with dirtimes.kept(image, mount, findings):
        run(["resize2fs", "-M", image])
        moved = dirtimes.read(image, mount)
    after = dirtimes.read(image, mount)
    times = [{path: found[1] for path, found in state.items()} for state in (before, moved, after)]
    assert times[0] != times[1], "resize2fs no longer changes them: this module can go"
    assert times[0] == times[2]
    assert findings == []


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.starts_processes
def test_a_damaged_directory_is_not_written_down(tmp_path: Path) -> None:
    """Mounted "ro" alone, the kernel notes in the superblock that it has met one."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with xfslab.device(image, 32 * MIB) as device:
        run(["mkfs.ext4", "-q", "-b", "4096", device])
        run(["mount", device, mount])
        (mount / "folder").mkdir()
        (mount / "folder/file").write_text("data")
        run(["umount", mount])
        block = int(run(["debugfs", "-R", "blocks /folder", device]).stdout)
        with Path(device).open("r+b") as disk:
            disk.seek(block * 4096)
            disk.write(os.urandom(4096))
        before = digest(image)
        with dirtimes.mounted(device, mount):
            assert {path.name for path in mount.iterdir()} == {"lost+found", "folder"}
            with pytest.raises(OSError, match="Bad message"):
                list((mount / "folder").iterdir())
        assert digest(image) == before
        assert run(["blockdev", "--getro", device]).stdout.strip() == "0", "it can be written again"
        # What a device is already, it stays.
        run(["blockdev", "--setro", device])
        try:
            with suppress(OSError):
                dirtimes.read(device, mount)
            assert run(["blockdev", "--getro", device]).stdout.strip() == "1"
        finally:
            run(["blockdev", "--setrw", device])
