"""A restore that is cut off, or gets a damaged image, leaves no disk that looks good."""

import errno
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices import ioerrors
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.devices.ioerrors import DiskError
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Failed
from lvpack_agent.image import files
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.layout.ranges import Range
from lvpack_agent.plan.grow_disks import whole_image
from lvpack_agent.processes import run
from lvpack_agent.progress import Progress
from lvpack_agent.restore import mark
from lvpack_agent.restore.write import opened, unusable_if_cut_off, write_disks, write_heads
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Compression
from lvpack_agent.shares.stored import Source, local
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import SIZES, disk, silent, two_disks, write_image


@pytest.mark.parametrize("error", [Failed("x"), OSError(5, "x"), MemoryError(), KeyboardInterrupt(), SystemExit(1)])
def test_the_disk_that_was_written_is_wiped_and_not_what_has_its_name_now(tmp_path: Path, error: BaseException) -> None:
    """A disk that goes away and comes back gets another name."""
    path, renamed = tmp_path / "sda", tmp_path / "sdb"
    path.write_bytes(b"x" * 2 * MIB)
    with (
        opened([str(path)], ["sda"]) as fds,
        pytest.raises(type(error)),
        unusable_if_cut_off(fds, [str(path)], two_disks()),
    ):
        path.rename(renamed)
        path.write_bytes(b"y" * 2 * MIB)
        raise error
    assert path.read_bytes() == b"y" * 2 * MIB
    assert renamed.read_bytes() == marked(two_disks()) + b"x" * MIB


def marked(manifest: Manifest) -> bytes:
    """Return the first MiB of a disk whose restore was cut off."""
    return mark.of(manifest).ljust(MIB, b"\0")


def a_set(folder: Path) -> tuple[Manifest, list[bytes]]:
    """Write the images of a set of two disks, and return what they hold."""
    contents = [random.Random(n).randbytes(size) for n, size in enumerate(SIZES)]
    images = []
    for n, content in enumerate(contents):
        (folder / "device").write_bytes(content)
        whole = (Range(start=0, count=len(content)),)
        name = files.image_name(n, "")
        progress = Progress("dump", len(content), silent)
        how = Compression(method="none", level=0)
        pace = Pace(workers=1, fixed=0)
        sums = write_image(folder / "device", folder / name, how, whole, len(content), progress, pace)
        images.append(Image(image=name, block_map=whole, checksums=sums))
    first, second = images
    made = replace(two_disks(), block_map=first.block_map, checksums=first.checksums, further=(second,))
    return made, contents


def written(folder: Path, manifest: Manifest, targets: list[BlockDevice], source: Source = local) -> None:
    """Write the targets as a restore does."""
    paths = [target.path for target in targets]
    with opened(paths, paths) as fds, unusable_if_cut_off(fds, paths, manifest):
        places = [whole_image(image.checksums.raw_size) for image in manifest.images]
        done = write_disks(fds, folder, manifest, targets, places, Session(action="restore", out=silent), source)
        write_heads(done, targets)


def test_each_image_goes_to_its_disk(tmp_path: Path) -> None:
    manifest, contents = a_set(tmp_path)
    targets = [disk(tmp_path, name, 8 * MIB) for name in "AB"]
    written(tmp_path, manifest, targets)
    for target, content in zip(targets, contents, strict=True):
        assert Path(target.path).read_bytes() == content.ljust(8 * MIB, b"\0")


def test_images_come_from_where_the_share_has_them(tmp_path: Path) -> None:
    """A share at a server is no folder of this machine."""
    manifest, contents = a_set(tmp_path)
    targets = [disk(tmp_path, name, 8 * MIB) for name in "AB"]
    written(
        Path("/not-there"),
        manifest,
        targets,
        lambda path, limit=None, top=None: local(tmp_path / path.relative_to("/not-there"), limit),
    )
    for target, content in zip(targets, contents, strict=True):
        assert Path(target.path).read_bytes() == content.ljust(8 * MIB, b"\0")


def test_a_damaged_image_leaves_no_disk_that_looks_good(tmp_path: Path) -> None:
    """Not the first one either, which had arrived in full."""
    manifest, contents = a_set(tmp_path)
    with (tmp_path / "disk1.img").open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"damage")
    targets = [disk(tmp_path, name, 8 * MIB) for name in "AB"]
    with pytest.raises(Failed, match=r"disk1\.img is damaged.*target disks '.*A' and '.*B' are unusable"):
        written(tmp_path, manifest, targets)
    first, second = (Path(target.path).read_bytes() for target in targets)
    assert first[MIB : SIZES[0]] == contents[0][MIB:], "it was written"
    assert first[:MIB] == second[:MIB] == marked(manifest)
    assert mark.stands_alone(first[:MIB]) and not mark.stands_alone(contents[0][:MIB])


@pytest.mark.starts_processes
def test_only_the_same_restore_takes_an_unfinished_disk_again(tmp_path: Path) -> None:
    manifest, _ = a_set(tmp_path)
    target = disk(tmp_path, "A", 8 * MIB)
    assert not mark.is_left_by(target, manifest)
    with Path(target.path).open("r+b") as file:
        file.write(mark.of(manifest))
        file.seek(2 * MIB)
        file.write(b"what had arrived")
    other = replace(manifest, checksums=replace(manifest.checksums, stored_sha256="0" * 64))
    assert mark.is_left_by(target, manifest) and not mark.is_left_by(target, other)
    assert mark.is_left_by(replace(target, parts=(target,)), manifest), "the kernel goes by a backup GPT"
    run(["mkswap", target.path])
    assert not mark.is_left_by(target, manifest)


@pytest.mark.parametrize(("number", "gone"), [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENXIO, True)])
def test_a_target_that_takes_no_write_is_at_fault_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, gone: bool
) -> None:
    manifest, _ = a_set(tmp_path)
    targets = [disk(tmp_path, name, 8 * MIB) for name in "AB"]
    said = [DiskError(kind="I/O error", name="vdb", sector=4096, operation="WRITE")]

    def failing(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdatasync", failing)
    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(ioerrors, "read", lambda: tuple(said))
    monkeypatch.setattr(ioerrors, "of_disks", lambda errors, paths, operation: said)
    told = "table was removed"
    if gone:
        monkeypatch.setattr(DirectReader, "read", lambda *_: failing(0))
        told = "table could not be removed"
    with pytest.raises(Failed) as caught:
        written(tmp_path, manifest, targets)
    assert caught.value.message.startswith(
        f"cannot write '{targets[0].path}' from sector 4096 (byte 2,097,152) on: {os.strerror(number)}; "
    )
    assert told in caught.value.message, "by what is on the disk, whatever fsync says of other places"
    assert "defect" not in caught.value.hint and "dmesg" in caught.value.hint
