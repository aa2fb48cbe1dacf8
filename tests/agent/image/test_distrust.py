"""Image sets that somebody has changed: each ends at once with its cause, and what no restore needs is a warning."""

import os
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Failed, LvpackError, Refused
from lvpack_agent.image import check, files, write
from lvpack_agent.image.manifest import write_manifest
from lvpack_agent.layout.volumes import PhysicalVolume, VolumeGroup
from lvpack_agent.machine.efi_entries import Loader
from lvpack_agent.sizes import MIB
from tests.agent.builders.oddities import ODD, ODD_JSON, spoil
from tests.agent.builders.sets import SET, manifest, silent, write_set
from tests.agent.builders.shares import folder_share

pytestmark = pytest.mark.timeout(60)
OTHERS = ("RESTORE.txt", "agent.log", "disk.img.bmap", "layout/lsblk.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set with a file of each kind."""
    folder = tmp_path / SET
    write_set(folder)
    for name in OTHERS:
        files.write_text(folder, name, f"this is {name}\n" * 3)
    write.write_sums(folder, manifest().images)
    return folder


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize(("kind", "cause"), ODD_JSON.items())
def test_whatever_stands_for_the_manifest_is_named(folder: Path, kind: str, cause: str) -> None:
    spoil(folder / files.MANIFEST, kind)
    with pytest.raises(Failed, match=cause):
        check.read_manifest(folder)


@pytest.mark.parametrize(("kind", "cause"), ODD.items())
def test_whatever_stands_for_sums_and_images_is_named(folder: Path, kind: str, cause: str) -> None:
    made = manifest()
    spoil(folder / files.SUMS, kind)
    with pytest.raises(Failed, match=f"SHA256SUMS cannot be read: {cause}"):
        check.read_manifest(folder)
    (folder / files.SUMS).unlink() if kind != "folder" else (folder / files.SUMS).rmdir()
    spoil(folder / made.image, kind)
    with pytest.raises(Failed, match=cause if kind != "huge" else r"disk\.img has 6,442,450,944 bytes, not 4,096"):
        check.check_files(folder, made)


@pytest.mark.parametrize(("kind", "cause"), ODD.items())
@pytest.mark.parametrize("name", OTHERS)
def test_whatever_stands_for_another_file_is_a_warning(folder: Path, name: str, kind: str, cause: str) -> None:
    spoil(folder / name, kind)
    odd: list[str] = []
    assert check.read_manifest(folder, odd.append) == manifest()
    [sentence] = odd
    assert cause in sentence and Path(name).name in sentence
    with pytest.raises(Failed, match=cause):
        check.read_manifest(folder)


def test_a_manifest_with_a_pv_on_a_disk_that_is_not_there_is_damaged(folder: Path) -> None:
    made = manifest()
    pv = PhysicalVolume(uuid="p", disk=1, partition=0, size=MIB, pe_start=0, extents=1)
    vg = VolumeGroup(name="vg", uuid="v", extent_size=MIB, pvs=(pv,), lvs=())
    astray = replace(made.packed, vgs=(vg,))
    plan = replace(made.plan, source=astray, target=astray)
    for lies in (replace(made, packed=astray), replace(made, plan=plan)):
        write_manifest(folder, lies)
        with pytest.raises(Failed, match="contradicts itself: PV p is on a disk or a partition that is not there"):
            check.read_manifest(folder)


def test_a_folder_of_a_set_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "layout").rename(tmp_path / "elsewhere")
    (folder / "layout").symlink_to("../elsewhere")
    odd: list[str] = []
    check.read_manifest(folder, odd.append)
    assert len(odd) == 1 and "Not a directory" in odd[0]


@pytest.mark.parametrize("name", OTHERS)
def test_a_flipped_bit_in_what_no_restore_needs_is_a_warning(folder: Path, name: str) -> None:
    flip(folder / name, 5)
    odd: list[str] = []
    assert check.read_manifest(folder, odd.append) == manifest()
    assert odd == [f"{name} has changed since it was written"]
    with pytest.raises(Failed, match=f"cannot trust all of .*{name} has changed") as failed:
        check.check_set(folder, silent)
    assert "its images are whole" in failed.value.hint


def test_a_flipped_bit_in_the_image_counts_before_one_in_the_log(folder: Path) -> None:
    flip(folder / "agent.log", 5)
    flip(folder / "disk.img", 5)
    with pytest.raises(Failed, match=r"disk\.img (has data|is damaged)"):
        check.check_set(folder, silent)


def test_any_bit_of_the_sums_is_a_cause_or_a_warning(folder: Path) -> None:
    """Never a traceback; and a restore goes on unless the line of the manifest or the image is hit."""
    whole = (folder / files.SUMS).read_bytes()
    chance, went_on = random.Random(19), 0
    for _ in range(400):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        (folder / files.SUMS).write_bytes(whole)
        flip(folder / files.SUMS, at, bit)
        odd: list[str] = []
        line = whole[whole.rfind(b"\n", 0, at) + 1 :].split(b"\n")[0] + whole[at : at + 1]
        try:
            check.read_manifest(folder, odd.append)
        except Failed:
            assert b"manifest.json" in line or b"disk.img" in line or b"\n" in line
        else:
            assert odd
            went_on += 1
        assert all(sentence.isprintable() for sentence in odd)
    assert went_on > 100


def test_any_bit_of_the_manifest_is_a_cause(folder: Path) -> None:
    whole = (folder / files.MANIFEST).read_bytes()
    chance = random.Random(19)
    for _ in range(400):
        (folder / files.MANIFEST).write_bytes(whole)
        flip(folder / files.MANIFEST, chance.randrange(len(whole)), chance.randrange(8))
        with pytest.raises(LvpackError):
            check.read_manifest(folder)


@pytest.mark.parametrize(
    "name", ["../x", "/dev/zero", "a\0b", "layout/../../x", ".", "a//b", "\x1b[2J", "x" * 5000, "layout"]
)
def test_no_name_in_the_sums_leads_anywhere_else(folder: Path, name: str) -> None:
    with (folder / files.SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    odd: list[str] = []
    check.read_manifest(folder, odd.append)
    assert len(odd) == 1 and odd[0].isprintable(), odd


def test_thousands_of_large_files_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvpack_agent.image.sums.OTHERS_MOST", 100 * MIB)
    (folder / "x0").touch()
    os.truncate(folder / "x0", 64 * MIB)
    for number in range(1, 9):
        (folder / f"x{number}").hardlink_to(folder / "x0")
    with (folder / files.SUMS).open("a") as file:
        file.writelines(f"{'0' * 64}  x{number}\n" for number in range(9))
    odd: list[str] = []
    check.read_manifest(folder, odd.append)
    assert [("has changed" in sentence) for sentence in odd] == [True] + [False] * 5
    assert odd[-1] == "4 more damages of this kind"


@pytest.mark.parametrize("name", ["/dev/zero", "../disk.img", "layout/disk.img", "", "manifest.json", "disk.img\n"])
def test_no_image_has_a_name_that_leads_elsewhere(folder: Path, name: str) -> None:
    made = replace(manifest(), image=name)
    write_manifest(folder, made)
    (folder / files.SUMS).write_text(f"{made.checksums.stored_sha256}  {name}\n")
    with pytest.raises(Failed, match="no name of one"):
        check.read_manifest(folder)


@pytest.mark.parametrize(
    "path",
    [r"\EFI/../../x", r"\EFI\..\x", r"C:\EFI\x", r"EFI\x", "", r"\EFI\\x", "\\", "\\a\0b", r"\EFI\.\x", r"\C:\x"],
)
def test_a_boot_entry_that_leaves_its_partition_is_named(folder: Path, path: str) -> None:
    made = replace(manifest(), boot=(Loader(title="evil", partition=1, path=path),))
    write_manifest(folder, made)
    write.write_sums(folder, made.images)
    odd: list[str] = []
    check.read_manifest(folder, odd.append)
    assert len(odd) == 1 and "'evil'" in odd[0] and odd[0].isprintable(), odd


def test_schema_of_any_form_is_refused(folder: Path) -> None:
    for schema in ("{}", "[[[]]]", '"' + "x" * 100_000 + '"', "null", "9" * 4000):
        (folder / files.MANIFEST).write_text(f'{{"schema": {schema}, "lvpack": {schema}}}')
        with pytest.raises(Refused, match="its schema is") as refused:
            check.read_manifest(folder)
        assert len(refused.value.message) + len(refused.value.hint) < 500


@pytest.mark.parametrize(("readers", "folder_mode", "file_mode"), [("owner", 0o700, 0o600), ("group", 0o750, 0o640)])
def test_who_may_read_a_new_set(tmp_path: Path, readers: str, folder_mode: int, file_mode: int) -> None:
    with write.Writer(folder_share(tmp_path), readers) as writer:
        partial = writer.begin("one")
        files.write_text(partial, "layout/lsblk.txt", "")
        os.close(os.open(partial / "layout", os.O_RDONLY))
        write.write_sums(partial, ())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "one", *tmp_path.rglob("one/**/*"))}
    assert modes == {"one": folder_mode, "layout": folder_mode, "lsblk.txt": file_mode, files.SUMS: file_mode}


def test_a_group_that_is_not_the_shares_is_said(tmp_path: Path) -> None:
    warnings: list[str] = []
    with write.Writer(folder_share(tmp_path), "group") as writer:
        partial = writer.begin("one")
        files.check_group(partial, warnings.append)
        assert warnings == []
        if os.getuid() == 0:
            os.chown(tmp_path, -1, 4321)  # as a server that squashes root does not let us give it
            files.check_group(partial, warnings.append)
            assert "not for 4321" in warnings[0]


def test_a_name_that_is_a_link_to_nothing_is_taken(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("nowhere")
    with write.Writer(folder_share(tmp_path)) as writer, pytest.raises(Refused, match="it exists"):
        writer.begin("one")
    (tmp_path / "two.partial").symlink_to(tmp_path)
    with write.Writer(folder_share(tmp_path)) as writer, pytest.raises(Refused, match=r"'two\.partial' exists"):
        writer.begin("two")
