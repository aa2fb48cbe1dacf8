"""Files of a mounted filesystem, read with care. What mounts an XFS is tested in guests."""

import os
from pathlib import Path

from lvpack_agent.filesystems import xfs
from lvpack_agent.filesystems.ext import MOST_TEXT


def test_what_is_no_small_file_within_the_filesystem_is_not_read(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_text("secret")
    (root / "name").write_text("blog")
    (root / "inside").symlink_to("name")
    (root / "out").symlink_to("../outside")
    (root / "absolute").symlink_to(outside)
    os.mkfifo(root / "fifo")
    with (root / "sparse").open("wb") as file:
        file.truncate(MOST_TEXT + 1)
    assert [xfs.text_of(root, f"/{name}") for name in ("name", "inside")] == ["blog", "blog"]
    assert [xfs.text_of(root, f"/{name}") for name in ("out", "absolute", "fifo", "sparse")] == [""] * 4
