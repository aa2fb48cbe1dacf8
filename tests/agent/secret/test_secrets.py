"""Secrets: where each is found, what is refused, and that nothing of them is left."""

import base64
import os
import resource
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent import places
from lvpack_agent.errors import Refused
from lvpack_agent.secret import firmware, names, secrets, stick
from lvpack_agent.secret.secrets import Secrets, forget
from tests.agent.builders.devices import device

PASSWORD = "open, Sesame"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has a place for secrets of each kind, and none in it."""
    monkeypatch.setattr(places, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(places, "RUN", tmp_path / "run")
    monkeypatch.setattr(firmware, "FW_CFG", tmp_path / "fw_cfg")
    monkeypatch.setattr(firmware, "DMI", tmp_path / "DMI")
    monkeypatch.setattr(firmware, "run", lambda *_, **__: None)
    monkeypatch.setattr(stick, "found", lambda _: ())


def of_run(how: str = "auto", typed: bytes | None = None) -> tuple[Secrets, list[str]]:
    said: list[str] = []

    def ask(what: str) -> bytes | None:
        said.append(f"asked for {what}")
        return typed

    return Secrets(how, said.append, ask), said


def in_initrd(text: bytes, name: str = "smb") -> Path:
    places.SECRETS.mkdir(mode=0o700)
    path = places.SECRETS / name
    path.write_bytes(text)
    return path


def oem(*texts: str) -> bytes:
    """Return an SMBIOS table with a BIOS structure, these OEM strings, and an end."""
    strings = b"".join(text.encode("latin-1") + b"\0" for text in texts)
    return (
        struct.pack("<BBH14x", 0, 18, 0)
        + b"org.lvpack.secret:smb=of no OEM\0\0"
        + struct.pack("<BBHB", 11, 5, 1, len(texts))
        + strings
        + b"\0"
        + struct.pack("<BBH", 127, 4, 2)
        + b"\0\0"
    )


def test_the_initrd_comes_first_and_an_editors_line_end_is_no_part_of_it() -> None:
    in_initrd(f"{PASSWORD}\n".encode())
    firmware.DMI.write_bytes(oem("org.lvpack.secret:smb=other"))
    run, said = of_run()
    assert run.need("smb", "the password") == PASSWORD.encode()
    assert said == ["secret smb: by the initrd"]
    assert run.need("smb", "the password") == PASSWORD.encode()
    assert len(said) == 1, "it is looked for once"


def test_fw_cfg_as_linux_shows_it() -> None:
    (firmware.FW_CFG / "smb").mkdir(parents=True)
    (firmware.FW_CFG / "smb/raw").write_bytes(PASSWORD.encode())
    run, said = of_run()
    assert run.need("smb", "it") == PASSWORD.encode()
    assert said == ["secret smb: by QEMU's fw_cfg"]


@pytest.mark.parametrize(
    "text",
    [
        f"org.lvpack.secret:smb={PASSWORD}",
        "org.lvpack.secret.base64:smb=" + base64.b64encode(PASSWORD.encode()).decode(),
    ],
)
def test_oem_strings_of_smbios(text: str) -> None:
    firmware.DMI.write_bytes(oem("something else", "org.lvpack.secret:ssh-key=no", text))
    run, _ = of_run()
    assert run.need("smb", "it") == PASSWORD.encode()


def test_a_damaged_table_of_smbios_has_no_secret() -> None:
    whole = oem("org.lvpack.secret:smb=x")
    for end in range(whole.index(b"smb=x")):
        assert list(firmware.oem_strings(whole[:end])) == []


def test_what_is_nowhere_is_named_with_the_ways_to_give_it() -> None:
    run, said = of_run(typed=b"typed")
    with pytest.raises(Refused, match="cannot find secret 'smb', the password of u: it is nowhere") as refused:
        run.need("smb", "the password of u")
    for word in ("--secret smb=FILE", "secrets/smb", "LVPACK", "fw_cfg"):
        assert word in refused.value.hint
    assert said == [], "nobody is asked unless lvpack.secrets=ask"


def test_somebody_is_asked_if_that_is_wanted() -> None:
    run, said = of_run("ask", b"typed")
    assert run.need("smb", "the password of u") == b"typed"
    assert said == ["asked for smb, the password of u", "secret smb: by a console"]
    run, _ = of_run("ask", None)
    with pytest.raises(Refused):
        run.need("smb", "it")


def test_none_is_none() -> None:
    in_initrd(PASSWORD.encode())
    run, _ = of_run("none")
    with pytest.raises(Refused, match=r"lvpack\.secrets=none"):
        run.need("smb", "it")


@pytest.mark.parametrize("text", [b"", b"\n", b"two\nlines", b"zero\0byte", b"x" * (names.MOST + 1)])
def test_what_is_no_password_is_refused_without_showing_it(text: bytes) -> None:
    in_initrd(text)
    run, _ = of_run()
    with pytest.raises(Refused, match="cannot use secret 'smb'") as refused:
        run.need("smb", "it")
    assert "lines" not in refused.value.message or "several lines" in refused.value.message
    assert "byte" not in text.decode(errors="replace") or "zero" not in refused.value.message


@pytest.mark.parametrize("name", [name.name for name in names.NAMES if name.typed])
def test_a_control_character_is_in_no_secret_of_one_line(name: str) -> None:
    """Of http's it came to the console: http.client shows the header that it does not take."""
    text = b"Bearer https://s3cr3t:token"
    for character in (*range(32), 127):
        with pytest.raises(Refused, match=f"cannot use secret '{name}' of a file: it has ") as refused:
            secrets.fit(name, "a file", text[:-3] + bytes([character]) + text[-3:])
        assert "s3cr3t" not in f"{refused.value.message} {refused.value.hint}"
    assert secrets.fit(name, "a file", text + b"\r\n") == text
    assert secrets.fit("ca", "a file", b"one\r\ntwo\0\n") == b"one\r\ntwo\0\n"


def test_what_stands_in_a_header_as_it_is_has_no_letters_of_other_scripts() -> None:
    for name, text in (("http", "Bearer s3cr3t-tökén"), ("s3", "s3cr3t-ké:y"), ("s3", "s3cr3t:ké:y")):
        with pytest.raises(Refused, match=f"cannot use secret '{name}' of a file: .* ASCII") as refused:
            secrets.fit(name, "a file", text.encode())
        assert "s3cr3t" not in f"{refused.value.message} {refused.value.hint}"
    for name, text in (("http", "müller:pässword"), ("smb", "Bearer ö"), ("s3", "key:sécrèt"), ("proxy", "ü:ö")):
        assert secrets.fit(name, "a file", text.encode()) == text.encode()


def test_a_link_in_the_place_of_a_secret_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root:")
    places.SECRETS.mkdir()
    (places.SECRETS / "smb").symlink_to(tmp_path / "shadow")
    run, _ = of_run()
    with pytest.raises(Refused, match="it is a link"):
        run.need("smb", "it")


def test_after_a_run_nothing_is_left_and_what_was_there_was_written_over() -> None:
    path = in_initrd(PASSWORD.encode())
    in_another_name = os.open(path, os.O_RDONLY)
    try:
        forget()
        assert not places.SECRETS.exists()
        assert os.pread(in_another_name, 100, 0) == bytes(len(PASSWORD))
    finally:
        os.close(in_another_name)
    forget()  # there may be none


def test_the_page_has_each_name() -> None:
    page = Path(__file__).parents[3] / "docs/secrets.md"
    assert names.as_markdown() in page.read_text()


def test_no_core_is_dumped() -> None:
    """Of a process of its own: a limit that went down does not go up again."""
    pid = os.fork()
    if not pid:
        secrets.keep_out_of_core_dumps()
        os._exit(0 if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_stick_is_read_as_a_share_is_by_nobody_who_follows_links(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    (folder / "secrets").mkdir(parents=True)
    sdb = replace(device(Path("/dev/sdb")), fstype="vfat", label="LVPACK")
    assert stick._read(folder, sdb, "smb") is None
    (folder / "secrets/smb").write_text(PASSWORD)
    assert stick._read(folder, sdb, "smb") == PASSWORD.encode()
    (folder / "secrets/ca").symlink_to("smb")
    with pytest.raises(Refused, match="a link"):
        stick._read(folder, sdb, "ca")
    assert stat.S_ISREG((folder / "secrets/smb").stat().st_mode)
