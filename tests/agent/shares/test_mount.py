"""How a share is mounted, as mount.nfs(8) is told."""

from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.shares import nfs
from lvpack_agent.shares.url import parse_url


@pytest.mark.starts_processes
@pytest.mark.parametrize("read_only", [True, False])
def test_nothing_on_a_share_gives_its_writers_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    for name, script in (("modprobe", "exit 0"), ("mount.nfs", f'echo "$@" >> {tmp_path}/said; exit 32')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nfs, "CLIENT_ID", tmp_path / "id")
    with pytest.raises(Failed, match="cannot mount share"):
        nfs.mount(parse_url("nfs://h/export"), tmp_path, read_only=read_only)
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 3, "each version of NFS is tried"
    for line in said:
        words = line.split()
        assert {"nosuid", "nodev", "noexec", "ro" if read_only else "rw"} <= {*words[words.index("-o") + 1].split(",")}
