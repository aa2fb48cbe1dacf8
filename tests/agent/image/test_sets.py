"""What an image set says about itself: its manifest, also as older versions wrote it, and how to restore it by hand;
and that it does not contradict itself.
"""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed
from lvpack_agent.image import check, files, pieces, restore_text, write
from lvpack_agent.image.checksums import Checksums
from lvpack_agent.image.files import SUFFIXES
from lvpack_agent.image.manifest import SCHEMA_SEVERAL, Image, Manifest, write_manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk, PartitionTable
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.volumes import LogicalVolume, VolumeGroup
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.progress import Progress
from lvpack_agent.report import Sizes
from lvpack_agent.settings.values import Compression
from lvpack_agent.sizes import GIB, KIB, MIB
from tests.agent.builders.sets import empty_image, manifest_of, silent, write_image
from tests.agent.builders.shares import folder_share

SHIM = Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi")


def manifest(boot: tuple[Loader, ...]) -> Manifest:
    made = manifest_of(
        (Disk(path="/dev/vda", size=0, sector_size=512, table=None),), (empty_image(0, "disk.img.zst"),), "zstd"
    )
    return replace(made, machine={"firmware": "UEFI, Secure Boot enabled"}, boot=boot)


def test_manifests_with_and_without_boot_entries_are_read() -> None:
    made = manifest((SHIM,))
    form = to_json(made)
    assert from_json(Manifest, form) == made
    del form["boot"]  # as lvpack wrote them before
    assert from_json(Manifest, form) == manifest(())


def test_manifests_with_and_without_wwn_are_read() -> None:
    disk = Disk(path="/dev/sda", size=MIB, sector_size=512, table=None, serial="A", wwn="0x5000")
    form = to_json(of_disks(disk))
    assert from_json(Manifest, form).packed.disks[0].wwn == "0x5000"
    del form["packed"]["disks"][0]["wwn"]  # as lvpack 0.1.0 wrote them
    assert from_json(Manifest, form).packed.disks[0].wwn == ""
    form["packed"]["disks"][0]["later"] = 1  # which 0.1.0 passes over, as it does this
    assert from_json(Manifest, form) == of_disks(disk)


def test_restore_text_has_the_command_that_makes_the_entry() -> None:
    other = Loader(title="it's", partition=2, path="\\a b.efi")
    text = restore_text.restore_text(manifest((SHIM, other)))
    first = r"efibootmgr --create --disk /dev/sdX --part 1 --label debian --loader '\EFI\debian\shimx64.efi'"
    second = r"""efibootmgr --create --disk /dev/sdX --part 2 --label 'it'"'"'s' --loader '\a b.efi'"""
    assert 0 < text.index(second) < text.index(first), "what is made last comes first"
    assert "efibootmgr" not in restore_text.restore_text(manifest(()))


def test_restore_text_names_each_xfs_with_a_single_group() -> None:
    def vgs(*groups: int) -> Layout:
        lvs = (
            LogicalVolume(name=f"lv{n}", uuid=f"{n}", segments=(), content=Content(type="xfs", groups=count, group=GIB))
            for n, count in enumerate(groups)
        )
        return Layout(disks=(), vgs=(VolumeGroup(name="vg", uuid="vg", extent_size=MIB, pvs=(), lvs=tuple(lvs)),))

    made = manifest(())
    text = restore_text.restore_text(replace(made, plan=replace(made.plan, source=vgs(4, 4, 1), target=vgs(1, 4, 1))))
    [_, said] = text.split("\nOn these LVs XFS has a single allocation group")
    assert "-o force_geometry" in said and said.endswith(":\n\n   LV lv0, with groups of 1.00 GiB\n")
    assert "force_geometry" not in restore_text.restore_text(made)


def several() -> Manifest:
    """A set of two disks of 5 and 7 MiB, the second a GPT."""
    table = PartitionTable(label="gpt", id="", partitions=())
    disks = tuple(
        Disk(path=path, size=size, sector_size=512, table=t)
        for path, size, t in (("/dev/vda", 5 * MIB, None), ("/dev/vdb", 7 * MIB, table))
    )
    further = Image(
        image="disk1.img.zst",
        block_map=(),
        checksums=Checksums(stored_size=2, stored_sha256="b", raw_size=7 * MIB),
    )
    first = Checksums(stored_size=1, stored_sha256="a", raw_size=5 * MIB)
    made = replace(of_disks(*disks), checksums=first, further=(further,))
    return replace(made, schema=SCHEMA_SEVERAL)


def of_disks(*disks: Disk) -> Manifest:
    layout, made = Layout(disks=disks, vgs=()), manifest(())
    return replace(made, packed=layout, plan=replace(made.plan, source=layout, target=layout))


def written(folder: Path, made: Manifest) -> Manifest:
    """Write what belongs to a set beside its images, and read it."""
    write_manifest(folder, made)
    write.write_sums(folder, made.images)
    return check.read_manifest(folder)


def test_a_set_of_several_disks_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = several()
    assert written(tmp_path, made) == made
    assert [image.image for image in made.images] == ["disk.img.zst", "disk1.img.zst"]
    assert [image.bmap for image in made.images] == ["disk.img.bmap", "disk1.img.bmap"]
    assert (made.packed_size, made.stored_size) == (12 * MIB, 3)
    sums = (tmp_path / files.SUMS).read_text()
    assert "a  disk.img.zst" in sums and "b  disk1.img.zst" in sums
    (tmp_path / files.SUMS).write_text(sums.replace("b  disk1", "c  disk1"))
    with pytest.raises(Failed, match=r"disagree about disk1\.img\.zst"):
        check.read_manifest(tmp_path)


def test_a_manifest_that_lacks_an_image_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="1 images of 2 disks"):
        written(tmp_path, replace(several(), further=()))


def test_the_manifest_of_one_disk_is_as_it_was(tmp_path: Path) -> None:
    written(tmp_path, manifest(()))
    assert "further" not in (tmp_path / files.MANIFEST).read_text()


def test_restore_text_has_a_command_for_each_disk() -> None:
    text = restore_text.restore_text(several())
    assert "zstd -dc disk.img.zst | dd of=/dev/TARGET0 " in text
    assert "zstd -dc disk1.img.zst | dd of=/dev/TARGET1 " in text
    assert "sfdisk --relocate gpt-bak-std /dev/TARGET1 " in text
    assert "bmaptool copy --bmap disk1.img.bmap disk1.img.zst /dev/TARGET1" in text
    assert f"/dev/TARGET1: {7 * MIB:,} bytes" in text
    assert "/dev/sdX" not in text


SIZE = 6 * pieces.PIECE + 512
# The first two pieces in part, two in whole, then a hole, then the last 512 bytes.
MAP = (
    Range(start=0, count=pieces.PIECE + 4 * KIB),
    Range(start=2 * pieces.PIECE, count=2 * pieces.PIECE),
    Range(start=6 * pieces.PIECE, count=512),
)


def stored(folder: Path, method: str) -> Manifest:
    """Write a set of one disk in full, and return its manifest."""
    device, name = folder / "device", "disk.img" + SUFFIXES[method]
    device.write_bytes(random.Random(1).randbytes(SIZE))
    (folder / name).unlink(missing_ok=True)
    how, progress = Compression(method=method, level=1), Progress("dump", SIZE, silent)
    sums = write_image(device, folder / name, how, MAP, SIZE, progress, Pace(workers=1, fixed=1))
    device.unlink()
    disk = Disk(path="/dev/vda", size=SIZE, sector_size=512, table=None)
    sizes = Sizes(packed_disk=SIZE, image=sums.stored_size, mapped=sum(part.count for part in MAP))
    made = replace(of_disks(disk), image=name, compression=how, block_map=MAP, checksums=sums, sizes=sizes)
    return written(folder, made)


@pytest.mark.starts_processes
@pytest.mark.parametrize("method", SUFFIXES)
def test_a_good_set_passes(tmp_path: Path, method: str) -> None:
    made = stored(tmp_path, method)
    check.check_files(tmp_path, made)
    check.check_images(tmp_path, made, silent)


def resized(layout: Layout, size: int) -> Layout:
    return replace(layout, disks=tuple(replace(disk, size=size) for disk in layout.disks))


def mapping(*pairs: tuple[int, int]) -> Callable[[Manifest], Manifest]:
    ranges = tuple(Range(start=start, count=end - start) for start, end in pairs)
    return lambda made: replace(made, block_map=ranges, sizes=Sizes())


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda made: replace(made, checksums=replace(made.checksums, raw_size=SIZE - 512)), "12,582,912 bytes as an"),
        (lambda made: replace(made, packed=resized(made.packed, SIZE + 512)), "12,583,936 as a disk"),
        (lambda made: replace(made, plan=replace(made.plan, target=resized(made.packed, 0))), "and 0 in the plan"),
        (lambda made: replace(made, plan=manifest(()).plan, packed=several().packed, further=several().further), "1$"),
        (mapping((MIB, 2 * MIB), (0, 512)), "bytes 0 to 512 are out of place"),
        (mapping((0, MIB), (MIB - 512, 2 * MIB)), "bytes 1,048,064 to 2,097,152 are out"),
        (mapping((0, MIB), (SIZE - 512, SIZE + 512)), "12,582,912 to 12,583,936 are out"),
        (mapping((0, 0)), "bytes 0 to 0 are out"),
        (mapping((-512, 512)), "bytes -512 to 512 are out"),
        *(
            (lambda made, name=name: replace(made, sizes=replace(made.sizes, **{name: 5})), f"5 bytes for {name}")
            for name in ("packed_disk", "image", "mapped")
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_not_trusted(
    tmp_path: Path, spoil: Callable[[Manifest], Manifest], cause: str
) -> None:
    made = stored(tmp_path, "zstd")
    with pytest.raises(Failed, match=f"cannot trust image set .*{cause}"):
        written(tmp_path, spoil(made))


def test_an_image_as_it_is_has_the_size_of_its_disk(tmp_path: Path) -> None:
    made = stored(tmp_path, "none")
    with pytest.raises(Failed, match=r"disk\.img, not compressed, with 5 bytes of 12,583,424"):
        written(tmp_path, replace(made, checksums=replace(made.checksums, stored_size=5), sizes=Sizes()))


@pytest.mark.parametrize("method", SUFFIXES)
def test_missing_and_cut_images_are_seen_before_they_are_read(tmp_path: Path, method: str) -> None:
    made = stored(tmp_path, method)
    path = tmp_path / made.image
    with path.open("r+b") as file:
        file.truncate(made.stored_size - 1)
    with pytest.raises(Failed, match=f"has {made.stored_size - 1:,} bytes, not {made.stored_size:,}"):
        check.check_files(tmp_path, made)
    path.unlink()
    with pytest.raises(Failed, match=rf"{made.image} cannot be read: No such file"):
        check.check_files(tmp_path, made)


def test_the_second_image_is_missed_before_the_first_is_read(tmp_path: Path) -> None:
    made = replace(stored(tmp_path, "zstd"), further=several().further)
    for checked in (check.check_files, lambda folder, made: check.check_images(folder, made, pytest.fail)):
        with pytest.raises(Failed, match=r"disk1\.img\.zst cannot be read: No such file"):
            checked(tmp_path, made)


def size_of_table(made: Manifest) -> Manifest:
    """The image of another disk: all fits but what the frames hold."""
    last = Range(start=MAP[-1].start, count=256)
    sums = replace(made.checksums, raw_size=SIZE - 256)
    packed = resized(made.packed, SIZE - 256)
    plan = replace(made.plan, target=packed)
    return replace(made, block_map=(*MAP[:-1], last), checksums=sums, packed=packed, plan=plan, sizes=Sizes())


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (size_of_table, "by its seek table it holds 12,583,424 bytes, not 12,583,168"),
        (mapping((0, 2 * MIB + 4 * KIB), (6 * MIB, 8 * MIB), (SIZE - 512, SIZE)), "data at byte 4,194,304"),
        (mapping((0, 8 * MIB)), "data at byte 12,582,912"),
        (mapping((0, SIZE)), "hole at byte 8,388,608"),
    ],
)
def test_map_and_seek_table_are_compared_before_the_image_is_read(
    tmp_path: Path, spoil: Callable[[Manifest], Manifest], cause: str
) -> None:
    made = written(tmp_path, spoil(stored(tmp_path, "zstd")))
    for checked in (check.check_files, lambda folder, made: check.check_images(folder, made, pytest.fail)):
        with pytest.raises(Failed, match=rf"disk\.img\.zst is damaged: .*{cause}"):
            checked(tmp_path, made)


@pytest.mark.starts_processes
@pytest.mark.parametrize("method", SUFFIXES)
def test_data_that_the_map_leaves_out_is_found_while_the_image_is_read(tmp_path: Path, method: str) -> None:
    """2 MiB, the half of two pieces, as a seek table cannot tell; and a byte at the end of a range."""
    for ranges, found in (
        (((0, 2 * MIB + 4 * KIB), (4 * MIB, 5 * MIB), (7 * MIB, 8 * MIB), (SIZE - 512, SIZE)), r"5,242,880 to [67]"),
        (((0, 2 * MIB + 4 * KIB - 1), (4 * MIB, 8 * MIB), (SIZE - 512, SIZE)), "2,101,247 to "),
    ):
        made = written(tmp_path, mapping(*ranges)(stored(tmp_path, method)))
        check.check_files(tmp_path, made)
        with pytest.raises(Failed, match=rf"{made.image} has data in bytes {found}"):
            check.check_images(tmp_path, made, silent)


def test_a_file_whose_descriptor_was_lost_does_not_keep_the_folder(tmp_path: Path) -> None:
    """As by a signal that comes while a file is being made; NFS would keep the name of an open file."""
    with pytest.raises(Failed, match="told to end"), write.Writer(folder_share(tmp_path)) as writer:
        folder = writer.begin("one")
        lost = os.open(folder / "disk.img", os.O_CREAT | os.O_WRONLY)
        raise Failed("cannot finish: told to end")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lost)
    assert [*tmp_path.iterdir()] == []
