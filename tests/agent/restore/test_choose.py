"""Which disks a restore writes, and which it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.devices.lsblk import AUTO, BOOT_LABEL, BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.layout import Layout
from lvpack_agent.machine import dmi
from lvpack_agent.restore.choose import choose_targets, without_share
from lvpack_agent.sizes import MIB
from tests.agent.builders.sets import disk, silent, two_disks


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


def test_the_disk_with_the_share_is_no_target(tmp_path: Path) -> None:
    stick = disk(tmp_path, "B", 9 * MIB)
    found = (disk(tmp_path, "A", 9 * MIB), replace(stick, parts=(replace(stick, path=f"{stick.path}1"),)))
    assert without_share(found, f"{stick.path}1") == without_share(found, stick.path) == found[:1]
    assert without_share(found, "") == found


@pytest.mark.starts_processes
def test_the_stick_with_secrets_is_no_target_unless_it_is_named(tmp_path: Path, machine: dict[str, str]) -> None:
    stick = replace(disk(tmp_path, "B", 9 * MIB), fstype="vfat", label=BOOT_LABEL)
    only = disk(tmp_path, "A", 9 * MIB)
    assert chosen((only, stick), one_disk(machine)) == (only,)
    with pytest.raises(Refused, match="cannot choose the target disk: there are 0"):
        chosen((stick,), one_disk(machine), overwrite=True)
    assert chosen((only, stick), one_disk(machine), "B", overwrite=True) == (stick,)


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
