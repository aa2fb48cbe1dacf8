"""Which disks a restore writes: as many as the set has, by name, all of them fit, or none is touched."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices.lsblk import AUTO, BlockDevice
from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image import files, write
from lvpack_agent.image.manifest import Image, Manifest
from lvpack_agent.image.pacing import Pace
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.machine import dmi
from lvpack_agent.progress import Progress
from lvpack_agent.restore.restore import choose_targets, opened, unusable_if_cut_off, write_disks
from lvpack_agent.session import Session
from lvpack_agent.settings.values import Compression
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import empty_image, manifest_of, silent

SIZES = (5 * MIB, 7 * MIB)


def two_disks() -> Manifest:
    disks = tuple(
        Disk(path=f"/dev/vd{n}", size=size, sector_size=512, table=None, model=f"model{n}")
        for n, size in enumerate(SIZES)
    )
    return manifest_of(disks, tuple(empty_image(size, f"disk{n or ''}.img") for n, size in enumerate(SIZES)))


def disk(folder: Path, name: str, size: int, sector_size: int = 512) -> BlockDevice:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return BlockDevice(
        path=str(path),
        type="disk",
        size=size,
        sector_size=sector_size,
        read_only=False,
        model="",
        serial=name,
        wwn="",
        fstype="",
        label="",
        uuid="",
    )


def chosen(
    found: tuple[BlockDevice, ...],
    manifest: Manifest,
    *names: str,
    overwrite: bool = False,
    say: Callable[[str], object] = silent,
) -> tuple[BlockDevice, ...]:
    """Return the targets if lvpack.disk has these names, or none."""
    return choose_targets(found, manifest, named=names or AUTO, overwrite=overwrite, say=say)


@pytest.mark.parametrize("names", [(), ("A",), ("A", "A"), ("A", "B", "C")])
def test_as_many_disks_are_named_as_the_set_has(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Also if there are just as many: nothing tells which is meant for which."""
    count = 3 if len(names) > 2 else 2
    found = tuple(disk(tmp_path, name, 9 * MIB) for name in "ABC"[:count])
    with pytest.raises(Refused, match=r"cannot choose the target disks: the set has 2 .*model0: 5,242,880 bytes") as no:
        chosen(found, two_disks(), *names)
    assert "lvpack.disk=" in no.value.hint


@pytest.mark.starts_processes
def test_each_disk_must_fit_its_image(tmp_path: Path) -> None:
    found = (disk(tmp_path, "A", 5 * MIB), disk(tmp_path, "B", 7 * MIB), disk(tmp_path, "C", 9 * MIB, 4096))
    with pytest.raises(Refused, match="A': it has 5,242,880 bytes, the image needs 7,340,032"):
        chosen(found, two_disks(), "B", "A")
    with pytest.raises(Refused, match="C': its sectors are 4096 bytes"):
        chosen(found, two_disks(), "A", "C")


@pytest.mark.starts_processes
def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    found = (disk(tmp_path, "A", 9 * MIB), disk(tmp_path, "B", 9 * MIB))
    assert chosen(found, two_disks(), "B", "A") == found[::-1]
    Path(found[0].path).write_bytes(bytes(8 * MIB) + b"x" * MIB)
    with pytest.raises(Refused, match="A': it is not empty"):
        chosen(found, two_disks(), "B", "A")


def one_disk(machine: dict[str, str], wwn: str = "", serial: str = "", model: str = "") -> Manifest:
    """The manifest of a set that came from such a disk in such a machine."""
    made = two_disks()
    source = Disk(path="/dev/sda", size=9 * MIB, sector_size=512, table=None, model=model, serial=serial, wwn=wwn)
    layout = Layout(disks=(source,), vgs=())
    packed = replace(layout, disks=made.packed.disks[:1])
    plan = replace(made.plan, source=layout, target=packed)
    return replace(made, packed=packed, further=(), plan=plan, machine=machine)


def known(folder: Path, name: str, wwn: str = "") -> BlockDevice:
    return replace(disk(folder, name, 9 * MIB), wwn=wwn, model="Model")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What DMI says of this machine."""
    (tmp_path / "product_uuid").write_text("11-22\n")
    monkeypatch.setattr(dmi, "DMI", tmp_path)
    return dmi.machine()


@pytest.mark.starts_processes
def test_auto_is_the_only_disk_and_says_so(tmp_path: Path, machine: dict[str, str]) -> None:
    only = known(tmp_path, "A", "0x5")
    for manifest, also in (
        (one_disk(machine, wwn="0x5"), " and the one that the set came from, by its WWN 0x5"),
        (one_disk(machine, wwn="0x6"), ""),
        (one_disk({}), ""),
    ):
        said: list[str] = []
        assert chosen((only,), manifest, say=said.append) == (only,)
        assert said == [f"lvpack.disk=auto is {only.path}: the only disk that there is{also}"]


@pytest.mark.starts_processes
def test_auto_is_the_disk_that_the_set_came_from(tmp_path: Path, machine: dict[str, str]) -> None:
    """By WWN on any machine; by serial number, as older sets have it alone, on the same machine."""
    found = (known(tmp_path, "A", "0x5"), known(tmp_path, "B", "0x6"), known(tmp_path, "C"))
    for manifest, index, why in (
        (one_disk({}, wwn="0x6"), 1, "WWN 0x6"),
        (one_disk(machine, serial="B", model="Model"), 1, "serial B"),
        (one_disk(machine, serial="C", model="Model", wwn="0x7"), 2, "serial C"),
    ):
        said: list[str] = []
        assert chosen(found, manifest, say=said.append) == (found[index],)
        assert said == [f"lvpack.disk=auto is {found[index].path}: the one that the set came from, by its {why}"]
    Path(found[1].path).write_bytes(b"x" * 9 * MIB)
    with pytest.raises(Refused, match="B': it is not empty"):
        chosen(found, one_disk({}, wwn="0x6"))
    assert chosen(found, one_disk({}, wwn="0x6"), overwrite=True) == (found[1],)


def collapsed(manifest: Manifest) -> Manifest:
    """Return the manifest of a set whose source had one disk more, of which the set has the data as well."""
    source = manifest.plan.source
    disks = (*source.disks, replace(source.disks[0], wwn="0x9"))
    return replace(manifest, plan=replace(manifest.plan, source=replace(source, disks=disks)))


@pytest.mark.parametrize("overwrite", [False, True])
def test_auto_is_no_disk_of_several_that_only_looks_like_it(
    tmp_path: Path, machine: dict[str, str], overwrite: bool
) -> None:
    """Virtual machines give their disks the same serial numbers; two paths show one disk."""
    found = (known(tmp_path, "A", "0x5"), known(tmp_path, "B", "0x6"), known(tmp_path, "C"))
    other = machine | {"product_uuid": "33-44"}
    for manifest, shown in (
        (one_disk(machine), found),
        (one_disk(machine, wwn="0x7"), found),
        (one_disk(other, serial="B", model="Model"), found),
        (one_disk({}, serial="C", model="Model"), found),
        (one_disk(machine, serial="B", model="Other"), found),
        (one_disk(machine, serial="B", model="Model", wwn="0x7"), found),
        (one_disk(machine, wwn="0x6"), (*found, replace(found[2], wwn="0x6"))),
        (collapsed(one_disk(machine, wwn="0x6")), found),
    ):
        with pytest.raises(Refused, match=f"cannot choose the target disk: there are {len(shown)}"):
            chosen(shown, manifest, overwrite=overwrite, say=pytest.fail)


@pytest.mark.parametrize("error", [Failed("x"), OSError(5, "x"), MemoryError(), KeyboardInterrupt(), SystemExit(1)])
def test_the_disk_that_was_written_is_wiped_and_not_what_has_its_name_now(tmp_path: Path, error: BaseException) -> None:
    """A disk that goes away and comes back gets another name."""
    path, renamed = tmp_path / "sda", tmp_path / "sdb"
    path.write_bytes(b"x" * 2 * MIB)
    with opened([str(path)], ["sda"]) as fds, pytest.raises(type(error)), unusable_if_cut_off(fds, [str(path)]):
        path.rename(renamed)
        path.write_bytes(b"y" * 2 * MIB)
        raise error
    assert path.read_bytes() == b"y" * 2 * MIB
    assert renamed.read_bytes() == bytes(MIB) + b"x" * MIB


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
        sums = write.write_image(folder / "device", folder / name, how, whole, len(content), progress, pace)
        images.append(Image(image=name, block_map=whole, checksums=sums))
    first, second = images
    made = replace(two_disks(), block_map=first.block_map, checksums=first.checksums, further=(second,))
    return made, contents


def written(folder: Path, manifest: Manifest, targets: list[BlockDevice]) -> None:
    """Write the targets as a restore does."""
    paths = [target.path for target in targets]
    with opened(paths, paths) as fds, unusable_if_cut_off(fds, paths):
        write_disks(fds, folder, manifest, targets, Session(action="restore", out=silent))


def test_each_image_goes_to_its_disk(tmp_path: Path) -> None:
    manifest, contents = a_set(tmp_path)
    targets = [disk(tmp_path, name, 8 * MIB) for name in "AB"]
    written(tmp_path, manifest, targets)
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
    assert first[:MIB] == second[:MIB] == bytes(MIB)
