"""The netboot kit: menus for all machines and for single ones, by MAC."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lvpack_agent.errors import Refused
from lvpack_builder.boot.loaders import PACKAGES
from lvpack_builder.boot.netboot import Host, check_words, mac_address, write_kit
from lvpack_builder.cli.main import main
from lvpack_builder.image import build
from lvpack_builder.image.build import LiveImage


def test_mac_addresses() -> None:
    assert mac_address("52-54-00-AB-CD-EF") == mac_address("52:54:00:ab:cd:ef") == "52:54:00:ab:cd:ef"
    for text in ("52:54:00:ab:cd", "52:54:00:ab:cd:eg", "525400abcdef", "lvpack.action=plan"):
        with pytest.raises(Refused):
            mac_address(text)


def test_kit_has_a_menu_for_each_machine(tmp_path: Path) -> None:
    missing = [str(path) for path in PACKAGES if not path.exists()]
    assert not missing, "the workstation's packages (bindep.txt) are part of what is tested"
    own = Host(mac="52:54:00:ab:cd:ef", arguments=("lvpack.action=plan", "lvpack.vg=own"))
    write_kit(tmp_path, ["lvpack.target=nfs://h/x"], [own])
    for name in (
        "pxelinux.cfg/01-52-54-00-ab-cd-ef",
        "grub/hosts/52:54:00:ab:cd:ef.cfg",
        "hosts/52-54-00-ab-cd-ef.ipxe",
    ):
        text = (tmp_path / name).read_text()
        assert "lvpack.vg=own" in text
        assert "nfs://h/x" not in text
    for name in ("pxelinux.cfg/default", "grub/lvpack.cfg", "lvpack.ipxe"):
        text = (tmp_path / name).read_text()
        assert "lvpack.target=nfs://h/x" in text
        assert "lvpack.vg" not in text
    with pytest.raises(Refused, match="iPXE"):
        check_words(["lvpack.vg=${net0/mac}"])


def test_arguments_belong_to_the_host_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def fake(out: Path, **options: Any) -> LiveImage:
        seen.append(options)
        return LiveImage(folder=out)

    monkeypatch.setattr(build, "build", fake)
    words = ["-a", "quiet", "--host", "52-54-00-00-00-01", "-a", "a=1", "-a", "b=2", "--host", "52:54:00:00:00:02"]
    answer = CliRunner().invoke(main, ["build", "-o", str(tmp_path), *words, "-a", "a=3"])
    assert answer.exit_code == 0, answer.output
    [options] = seen
    assert list(options["arguments"]) == ["quiet"]
    assert options["hosts"] == [
        Host(mac="52:54:00:00:00:01", arguments=("quiet", "a=1", "b=2")),
        Host(mac="52:54:00:00:00:02", arguments=("quiet", "a=3")),
    ]
    assert options["secrets"] == {} and not options["secrets_in_iso"]


def test_secrets_belong_to_the_host_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def fake(out: Path, **options: Any) -> LiveImage:
        seen.append(options)
        return LiveImage(folder=out)

    monkeypatch.setattr(build, "build", fake)
    for name in ("all", "one"):
        (tmp_path / name).write_text(name)
    words = ["--secret", f"smb={tmp_path}/all", "--host", "52-54-00-00-00-01", "-a", "a=1", "--secret"]
    answer = CliRunner().invoke(main, ["build", *words, f"smb={tmp_path}/one", "--host", "52-54-00-00-00-02"])
    assert answer.exit_code == 0, answer.output
    [options] = seen
    assert options["secrets"] == {"smb": b"all"}
    assert [host.secrets for host in options["hosts"]] == [{"smb": b"one"}, {}]
    assert "one" not in repr(options["hosts"])


def test_menus_load_the_secrets_of_their_machine_after_the_initrd(tmp_path: Path) -> None:
    own = Host(mac="52:54:00:ab:cd:ef", arguments=(), secrets={"smb": b"x"})
    write_kit(tmp_path, [], [own, Host(mac="52:54:00:00:00:02", arguments=())], "secrets.img")
    expected = {
        "pxelinux.cfg/default": "INITRD initrd.img,secrets.img\n",
        "pxelinux.cfg/01-52-54-00-00-00-02": "INITRD initrd.img,secrets.img\n",
        "pxelinux.cfg/01-52-54-00-ab-cd-ef": "INITRD initrd.img,hosts/52-54-00-ab-cd-ef.secrets.img\n",
        "grub/lvpack.cfg": "initrd /initrd.img /secrets.img\n",
        "grub/hosts/52:54:00:ab:cd:ef.cfg": "initrd /initrd.img /hosts/52-54-00-ab-cd-ef.secrets.img\n",
        "lvpack.ipxe": "initrd --name secrets.img ${up}secrets.img ||",
        "hosts/52-54-00-ab-cd-ef.ipxe": "initrd --name secrets.img ${up}hosts/52-54-00-ab-cd-ef.secrets.img ||",
    }
    for name, line in expected.items():
        assert line in (tmp_path / name).read_text(), name
    (tmp_path / "bare").mkdir()
    write_kit(tmp_path / "bare", [])
    for name in ("pxelinux.cfg/default", "grub/lvpack.cfg", "lvpack.ipxe"):
        assert "secrets" not in (tmp_path / "bare" / name).read_text()
