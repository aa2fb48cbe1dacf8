"""What an image set says about itself: its manifest, also as older versions wrote it, and how to restore it by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent import imageset
from lvpack_agent.efi import Loader
from lvpack_agent.errors import Failed
from lvpack_agent.imageset import Manifest
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.layout import Disk, Layout, PartitionTable
from lvpack_agent.options import Compression
from lvpack_agent.plan import Plan
from lvpack_agent.sizes import MIB
from lvpack_agent.streams import Checksums

SHIM = Loader(title="debian", partition=1, path="\\EFI\\debian\\shimx64.efi")


def manifest(boot: tuple[Loader, ...]) -> Manifest:
    layout = Layout(disks=(Disk(path="/dev/vda", size=0, sector_size=512, table=None),), vgs=())
    return Manifest(
        schema=imageset.SCHEMA,
        lvpack="0",
        name="one",
        created="",
        machine={"firmware": "UEFI, Secure Boot enabled"},
        plan=Plan(source=layout, target=layout, steps=(), moves=(), store=0),
        packed=layout,
        image="disk.img.zst",
        compression=Compression(method="zstd", level=0),
        block_map=(),
        checksums=Checksums(stored_size=0, stored_sha256="", raw_size=0),
        boot=boot,
    )


def test_manifests_with_and_without_boot_entries_are_read() -> None:
    made = manifest((SHIM,))
    form = to_json(made)
    assert from_json(Manifest, form) == made
    del form["boot"]  # as lvpack wrote them before
    assert from_json(Manifest, form) == manifest(())


def test_restore_text_has_the_command_that_makes_the_entry() -> None:
    other = Loader(title="it's", partition=2, path="\\a b.efi")
    text = imageset.restore_text(manifest((SHIM, other)))
    first = r"efibootmgr --create --disk /dev/sdX --part 1 --label debian --loader '\EFI\debian\shimx64.efi'"
    second = r"""efibootmgr --create --disk /dev/sdX --part 2 --label 'it'"'"'s' --loader '\a b.efi'"""
    assert 0 < text.index(second) < text.index(first), "what is made last comes first"
    assert "efibootmgr" not in imageset.restore_text(manifest(()))


def several() -> Manifest:
    """A set of two disks of 5 and 7 MiB, the second a GPT."""
    table = PartitionTable(label="gpt", id="", partitions=())
    disks = tuple(
        Disk(path=path, size=size, sector_size=512, table=t)
        for path, size, t in (("/dev/vda", 5 * MIB, None), ("/dev/vdb", 7 * MIB, table))
    )
    further = imageset.Image(
        image="disk1.img.zst",
        block_map=(),
        checksums=Checksums(stored_size=2, stored_sha256="b", raw_size=7 * MIB),
    )
    first = Checksums(stored_size=1, stored_sha256="a", raw_size=5 * MIB)
    made = replace(manifest(()), packed=Layout(disks=disks, vgs=()), checksums=first, further=(further,))
    return replace(made, schema=imageset.SCHEMA_SEVERAL)


def written(folder: Path, made: Manifest) -> Manifest:
    """Write what belongs to a set beside its images, and read it."""
    imageset.write_manifest(folder, made)
    imageset.write_sums(folder, made.images)
    return imageset.read_manifest(folder)


def test_a_set_of_several_disks_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = several()
    assert written(tmp_path, made) == made
    assert [image.image for image in made.images] == ["disk.img.zst", "disk1.img.zst"]
    assert [image.bmap for image in made.images] == ["disk.img.bmap", "disk1.img.bmap"]
    assert (made.packed_size, made.stored_size) == (12 * MIB, 3)
    sums = (tmp_path / imageset.SUMS).read_text()
    assert "a  disk.img.zst" in sums and "b  disk1.img.zst" in sums
    (tmp_path / imageset.SUMS).write_text(sums.replace("b  disk1", "c  disk1"))
    with pytest.raises(Failed, match=r"disagree about disk1\.img\.zst"):
        imageset.read_manifest(tmp_path)


def test_a_manifest_that_lacks_an_image_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="1 images of 2 disks"):
        written(tmp_path, replace(several(), further=()))


def test_the_manifest_of_one_disk_is_as_it_was(tmp_path: Path) -> None:
    written(tmp_path, manifest(()))
    assert "further" not in (tmp_path / imageset.MANIFEST).read_text()


def test_restore_text_has_a_command_for_each_disk() -> None:
    text = imageset.restore_text(several())
    assert "zstd -dc disk.img.zst | dd of=/dev/TARGET0 " in text
    assert "zstd -dc disk1.img.zst | dd of=/dev/TARGET1 " in text
    assert "sfdisk --relocate gpt-bak-std /dev/TARGET1 " in text
    assert "bmaptool copy --bmap disk1.img.bmap disk1.img.zst /dev/TARGET1" in text
    assert f"/dev/TARGET1: {7 * MIB:,} bytes" in text
    assert "/dev/sdX" not in text
