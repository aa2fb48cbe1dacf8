"""Which ISO has the secrets of a build: the one that the flag is for, for its owner only, and not the netboot kit's."""

import stat
from pathlib import Path

import pytest

from lvpack_agent.processes import run
from lvpack_builder.image.build import LiveImage, write_isos
from lvpack_builder.image.secrets import COMMON, write_archive

pytestmark = pytest.mark.starts_processes
PASSWORD = b"open, Sesame"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveImage:
    """A live image so far as the ISOs need it; nothing in it boots."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    made = LiveImage(folder=tmp_path / "image")
    made.kit.mkdir(parents=True)
    made.kernel.write_bytes(b"kernel")
    made.initrd.write_bytes(b"initrd")
    write_archive({"smb": PASSWORD}, made.kit / COMMON)
    return made


def menu(iso: Path, folder: Path) -> str:
    run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/boot/grub/grub.cfg", folder / "grub.cfg"])
    return (folder / "grub.cfg").read_text()


def test_the_kit_has_an_iso_without_the_secrets(image: LiveImage, tmp_path: Path) -> None:
    served = image.kit / image.iso.name
    write_isos(image, [], image.kit / COMMON, secrets_in_iso=True)
    assert PASSWORD in image.iso.read_bytes() and PASSWORD not in served.read_bytes()
    assert stat.S_IMODE(image.iso.stat().st_mode) == 0o600
    assert stat.S_IMODE(served.stat().st_mode) == 0o644
    (tmp_path / "its").mkdir()
    assert f"/boot/{COMMON}" in menu(image.iso, tmp_path / "its")
    (tmp_path / "served").mkdir()
    assert COMMON not in menu(served, tmp_path / "served")


@pytest.mark.parametrize(("packed", "wanted"), [(True, False), (False, True), (False, False)])
def test_else_both_are_one_file(image: LiveImage, packed: bool, wanted: bool) -> None:
    write_isos(image, [], image.kit / COMMON if packed else None, secrets_in_iso=wanted)
    assert image.iso.samefile(image.kit / image.iso.name)
    assert PASSWORD not in image.iso.read_bytes()
    assert stat.S_IMODE(image.iso.stat().st_mode) == 0o644
