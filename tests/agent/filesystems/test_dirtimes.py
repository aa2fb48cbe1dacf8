"""On a real filesystem, by the real tools of this machine; needs root and a loop device."""

import os
from pathlib import Path

import pytest

from lvpack_agent.filesystems import dirtimes
from lvpack_agent.processes import run

# Before 1970, now, after 2038.
TIMES = (-(10**9), 1_700_000_000_123_456_789, 4_000_000_000_000_000_001)


@pytest.mark.starts_processes
@pytest.mark.parametrize("inode_size", [128, 256])
def test_shrinking_keeps_the_times_of_directories(tmp_path: Path, inode_size: int) -> None:
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(200 << 20)
    # Small blocks make small groups, and 50 directories are spread over all of them.
    run(["mkfs.ext3", "-q", "-F", "-b", "1024", "-I", str(inode_size), image])
    run(["mount", "-o", "loop", image, mount])
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
    before = dirtimes.read(str(image), mount)
    findings: list[str] = []
    with dirtimes.kept(str(image), mount, findings):
        run(["resize2fs", "-M", image])
        moved = dirtimes.read(str(image), mount)
    after = dirtimes.read(str(image), mount)
    times = [{path: found[1] for path, found in state.items()} for state in (before, moved, after)]
    assert times[0] != times[1], "resize2fs no longer changes them: this module can go"
    assert times[0] == times[2]
    assert findings == []
