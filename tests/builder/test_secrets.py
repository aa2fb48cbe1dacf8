"""lvpack build --secret: what is packed, for whom, and what is refused without being shown."""

import stat
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_agent.secret.names import MOST
from lvpack_builder.image.secrets import read_secrets, write_archive

pytestmark = pytest.mark.starts_processes


def test_an_archive_is_for_its_owner_and_what_is_in_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    one, two = tmp_path / "one.img", tmp_path / "two.img"
    for path in (one, two):
        write_archive({"smb": b"open, Sesame"}, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert one.read_bytes() != two.read_bytes(), "a checksum tells nobody the password"
    out = tmp_path / "out"
    out.mkdir()
    run(["sh", "-c", f"cd {out} && cpio --extract --quiet < {one}"])
    assert (out / "secrets/smb").read_bytes() == b"open, Sesame"
    assert stat.S_IMODE((out / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out / "secrets").iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"one.img", "two.img", "out"}


def test_what_is_no_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "long").write_bytes(bytes(MOST + 1))
    for text in ("smb=", f"smb={tmp_path}/none", "smb", "sesame=x", f"smb={tmp_path}/empty", f"smb={tmp_path}/long"):
        with pytest.raises(Refused, match="cannot use secret") as refused:
            read_secrets([text])
        assert refused.value.hint
    (tmp_path / "file").write_text("x")
    assert read_secrets([f"smb={tmp_path}/file"]) == {"smb": b"x"}
