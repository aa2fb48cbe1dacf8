"""Disks and sticks that are read, as real filesystems after a crash: nothing is written to them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import xfslab
from lvpack_agent import places
from lvpack_agent.devices import lsblk
from lvpack_agent.devices.lsblk import BOOT_LABEL, BlockDevice
from lvpack_agent.processes import run
from lvpack_agent.secret import stick
from lvpack_agent.shares import file
from lvpack_agent.shares.url import parse_url
from lvpack_agent.sizes import MIB
from tests.agent.builders.shares import access

# mkfs.xfs makes none below 300 MiB.
SIZES = {"xfs": 304 * MIB}
TEXT = b"lvpack.overwrite=yes\n"
URL = parse_url(f"file://{BOOT_LABEL}/secrets")
# FAT and exFAT have neither a log nor such a list; not every kernel that runs tests has them.
KINDS = ("ext2", "ext3", "ext4", "xfs")

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices and mounts are root's"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with xfslab.memory(tmp_path_factory.mktemp("memory")) as folder:
        yield folder


@pytest.fixture(autouse=True)
def places_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "RUN", tmp_path / "run")


def crashed(kind: str, images: Path, folder: Path) -> Path:
    """Return an image of a filesystem as a power cut leaves it: a log to replay, and a removed file that was open."""
    with xfslab.device(images / "origin", SIZES.get(kind, 32 * MIB)) as device:
        run([f"mkfs.{kind}", "-L", BOOT_LABEL, device])
        run(["mount", "-t", kind, device, folder])
        try:
            (folder / "secrets").mkdir()
            (folder / "secrets/smb").write_bytes(TEXT)
            gone = (folder / "gone").open("wb+")
            with gone:
                gone.write(bytes(MIB))
                os.sync()
                (folder / "gone").unlink()
                # Frozen: the log is empty, and the superblock has the list of such files (ext4_orphan_add()).
                run(["fsfreeze", "--freeze", folder])
                run(["fsfreeze", "--unfreeze", folder])
                (folder / "later").write_bytes(TEXT)
                os.sync()
                run(["cp", "--sparse=always", device, images / "crashed"])
        finally:
            run(["umount", folder])
    (images / "origin").unlink()
    return images / "crashed"


def shown(monkeypatch: pytest.MonkeyPatch, device: str, kind: str) -> BlockDevice:
    """Have a machine whose only disk is a device with such a filesystem, under the label LVPACK."""
    disk = BlockDevice(
        path=device,
        type="disk",
        size=MIB,
        sector_size=512,
        read_only=False,
        model="",
        serial="",
        wwn="",
        fstype=kind,
        label=BOOT_LABEL,
        uuid="",
    )
    monkeypatch.setattr(lsblk, "read", lambda: (disk,))
    return disk


def digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def is_read_only(device: str) -> bool:
    return run(["blockdev", "--getro", device]).stdout.strip() == "1"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_not_written(kind: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a log replayed nor a list of removed files worked off: the disk may be the one that is packed."""
    (tmp_path / "made").mkdir()
    image = crashed(kind, images, tmp_path / "made")
    before = digest(image)
    with xfslab.device(image, 0) as device:
        shown(monkeypatch, device, kind)
        folder = tmp_path / "share"
        folder.mkdir()
        mounted = file.mount(URL, folder, access(read_only=True))
        try:
            assert (folder / "smb").read_bytes() == TEXT
            with pytest.raises(OSError, match="Read-only"):
                (folder / "new").write_bytes(b"x")
        finally:
            run(["umount", folder])
            mounted.close()
        assert stick.from_stick("smb") == TEXT
        assert not is_read_only(device), "it can be packed to and restored to"
    assert digest(image) == before
