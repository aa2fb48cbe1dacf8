"""How a share is mounted, as mount.nfs(8) and mount.cifs(8) are told."""

from pathlib import Path

import pytest

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares import nfs, smb
from lvpack_agent.shares.url import parse_url
from tests.agent.builders.shares import access


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
        nfs.mount(parse_url("nfs://h/export"), tmp_path, access(read_only=read_only))
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 3, "each version of NFS is tried"
    for line in said:
        words = line.split()
        assert {"nosuid", "nodev", "noexec", "ro" if read_only else "rw"} <= {*words[words.index("-o") + 1].split(",")}


PASSWORD = "open, Sesame; 100 %"


@pytest.mark.starts_processes
@pytest.mark.parametrize("read_only", [True, False])
def test_smb_is_signed_and_its_password_is_in_no_process_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    script = f'echo "$@" > {tmp_path}/said; env > {tmp_path}/env; cat <&$PASSWD_FD > {tmp_path}/password'
    (tmp_path / "mount.cifs").write_text(
        f"#!/bin/sh\n{script}; echo 'mount error(13): Permission denied' >&2; exit 32\n"
    )
    (tmp_path / "mount.cifs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    options = ShareOptions(user="u", domain="d", seal=read_only)
    with pytest.raises(Failed, match=r"cannot mount share 'smb://h:1445/vault/a b'.*Permission denied") as failed:
        smb.mount(
            parse_url("smb://h:1445/vault/a%20b"),
            tmp_path,
            access(read_only=read_only, options=options, secrets={"smb": PASSWORD.encode()}),
        )
    assert "secret smb" in failed.value.hint
    assert (tmp_path / "password").read_text() == PASSWORD
    said = (tmp_path / "said").read_text()
    assert PASSWORD not in said + (tmp_path / "env").read_text() + failed.value.message
    assert said.startswith(f"//h/vault/a b {tmp_path} -o ")
    words = {*said.split(" -o ")[1].strip().split(",")}
    expected = {
        "nosuid",
        "nodev",
        "noexec",
        "ro" if read_only else "rw",
        "vers=3",
        "sec=ntlmsspi",
        "soft",
        "cache=none",
    }
    assert expected | {"username=u", "domain=d", "port=1445"} <= words
    assert ("seal" in words) == read_only


def test_smb_without_a_user_or_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="for which user"):
        smb.mount(parse_url("smb://h/vault"), tmp_path, access(secrets={"smb": b"x"}))
    with pytest.raises(Refused, match="secret 'smb', the password of u at h"):
        smb.mount(parse_url("smb://h/vault"), tmp_path, access(options=ShareOptions(user="u")))
