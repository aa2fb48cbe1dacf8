"""Which file has a block. What mounts a filesystem is tested in guests: qemu-tests/tests/test_bad_sectors.py."""

import os
from pathlib import Path

from lvpack_agent.filesystems import owners


def test_paths_of_inodes_are_for_people(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/line\nbreak").write_text("")
    (tmp_path / "a/twice").write_text("")
    os.link(tmp_path / "a/twice", tmp_path / "again")
    (tmp_path / "link").symlink_to("/")
    wanted = {
        path.lstat().st_ino: name
        for path, name in (
            (tmp_path, "/"),
            (tmp_path / "a/b", "/a/b"),
            (tmp_path / "a/b/line\nbreak", "/a/b/line\\nbreak"),
        )
    }
    twice = (tmp_path / "a/twice").stat().st_ino
    found = owners.paths(os.fsencode(tmp_path), {*wanted, twice, 1 << 60})
    assert found.pop(twice) in ("/a/twice", "/again")
    assert found == wanted
