"""Which disk a file:// share means, and which it never does."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices import lsblk
from lvpack_agent.errors import Refused
from lvpack_agent.shares import file
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import GIB
from tests.agent.builders.devices import device
from tests.agent.builders.shares import access

BARE = device(Path("/dev/sdb"))
STICK = replace(BARE, fstype="vfat", label="STICK", uuid="1234-ABCD")
PARTS = replace(
    BARE,
    path="/dev/sdc",
    parts=(
        replace(BARE, path="/dev/sdc1", type="part", fstype="ext4", label="DATA", uuid="u-1"),
        replace(BARE, path="/dev/sdc2", type="part", fstype="LVM2_member", uuid="u-2"),
    ),
)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsblk, "read", lambda: (STICK, PARTS))
    monkeypatch.setattr(file, "FIND_SECONDS", -1.0)
    monkeypatch.setattr(file, "BY_ID", tmp_path / "by-id")
    file.BY_ID.mkdir()


@pytest.mark.parametrize(("name", "path"), [("STICK", "/dev/sdb"), ("1234-ABCD", "/dev/sdb"), ("u-1", "/dev/sdc1")])
def test_by_label_and_by_uuid(name: str, path: str) -> None:
    _, device = file.found(parse_url(f"file://{name}/x"))
    assert device.path == path


def test_by_id() -> None:
    (file.BY_ID / "usb-X-part1").symlink_to("/dev/sdc1")
    assert file.found(parse_url("file://usb-X-part1/x"))[1].path == "/dev/sdc1"


def test_two_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsblk, "read", lambda: (STICK, replace(STICK, path="/dev/sdd")))
    with pytest.raises(Refused, match=r"/dev/sdb and /dev/sdd are called so") as refused:
        file.found(parse_url("file://STICK"))
    assert "UUID" in refused.value.hint


@pytest.mark.parametrize(("name", "cause"), [("stick", "no disk or partition has 'stick'"), ("u-2", "LVM2_member")])
def test_none_and_one_that_is_no_share(name: str, cause: str) -> None:
    with pytest.raises(Refused, match=cause) as refused:
        file.found(parse_url(f"file://{name}"))
    assert refused.value.hint


def test_a_disk_with_a_pv_is_not_written_and_one_that_is_named_is_not_mounted(tmp_path: Path) -> None:
    """Raised before anything is mounted: there is no such device here."""
    with pytest.raises(Refused, match="/dev/sdc2 on it is a PV"):
        file.mount(parse_url("file://DATA"), tmp_path / "at", access())
    with pytest.raises(Refused, match=r"lvpack\.disk= names it"):
        file.mount(parse_url("file://DATA"), tmp_path / "at", access(read_only=True, disks=("/dev/sdc",)))


def test_how_each_filesystem_is_read_is_known() -> None:
    assert file.FILESYSTEMS.keys() == lsblk.FILESYSTEMS.keys()


def test_what_a_share_cannot_do_is_refused_by_its_name() -> None:
    fat = file.FILESYSTEMS["vfat"]
    share = Share(name="file://STICK", folder=Path("/x"), largest=fat.largest, no_journal=fat.no_journal)
    with pytest.raises(Refused, match=r"disk\.img.*file://STICK.*at most 4"):
        share.refuse_large("disk.img", 4 * GIB)
    share.refuse_large("disk.img", 4 * GIB - 1)
    for refuse in (share.refuse_journal, share.refuse_store):
        with pytest.raises(Refused, match=r"file://STICK.*FAT"):
            refuse()
    usual = Share(name="nfs://h/e", folder=Path("/x"))
    usual.refuse_large("disk.img", 1 << 60)
    usual.refuse_journal()
