"""The host name that an image set is called by, on filesystems that e2fsprogs made."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.backup import tables
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import Disk
from lvpack_agent.layout.extents import Segment
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.volumes import LogicalVolume, PhysicalVolume, VolumeGroup
from lvpack_agent.probe.open import Opened
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB

pytestmark = pytest.mark.starts_processes


def filesystem(folder: Path, name: str, files: dict[str, str]) -> str:
    """Make an ext4 of these files, and return its path."""
    root = folder / f"{name}-files"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    root.mkdir(exist_ok=True)
    run(["mkfs.ext4", "-q", "-d", str(root), str(folder / name), "8M"])
    return str(folder / name)


def opened(volumes: dict[str, str], disks: dict[str, int]) -> Opened:
    """A server of LVs by name, with the devices that hold them; disks are where they lie, 0 if it is not said."""
    lvs = {name: disks.get(name, 0) for name in volumes}
    vgs = tuple(
        VolumeGroup(
            name=f"vg{disk}",
            uuid=f"vg{disk}",
            extent_size=MIB,
            pvs=(PhysicalVolume(uuid=f"pv{disk}", disk=disk, partition=0, size=0, pe_start=MIB, extents=8),),
            lvs=tuple(
                LogicalVolume(
                    name=name,
                    uuid=name,
                    segments=(Segment(le=0, pv=f"pv{disk}", pe=0, count=8),),
                    content=Content(type="ext4"),
                )
                for name, where in lvs.items()
                if where == disk
            ),
        )
        for disk in sorted(set(lvs.values()))
    )
    plain = Disk(path="/dev/vda", size=9 * MIB, sector_size=512, table=None)
    layout = Layout(disks=tuple(replace(plain, path=f"/dev/vd{vg.pvs[0].disk}") for vg in vgs), vgs=vgs)
    whole = {(index, 0): "" for index in range(len(vgs))}
    return Opened(layout=layout, partitions=whole, lvs=volumes, pvs=(), findings=(), unclean=())


ROOT = {"etc/hostname": "blog\n", "etc/fstab": "/dev/vg/root / ext4\n"}


def test_it_is_that_of_the_root_filesystem(tmp_path: Path) -> None:
    """A chroot or a container's files may have a host name, too, but no fstab."""
    volumes = {
        "data": filesystem(tmp_path, "data", {"etc/hostname": "container\n"}),
        "main": filesystem(tmp_path, "main", ROOT),
        "empty": filesystem(tmp_path, "empty", {}),
    }
    assert tables.host_name(opened(volumes, {})) == "blog"


def test_of_two_systems_it_is_that_on_the_first_disk(tmp_path: Path) -> None:
    volumes = {
        "root": filesystem(tmp_path, "root", ROOT | {"etc/hostname": "copy\n"}),
        "system": filesystem(tmp_path, "system", ROOT),
    }
    assert tables.host_name(opened(volumes, {"root": 1})) == "blog"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a b/../c\n", "a-b-..-c"),
        ("..\n", ""),
        ("first\nsecond\n", "first"),
        ("", ""),
        ("h" * 300, "h" * 64),
        ("h" * 63 + ".example.org", "h" * 63),
    ],
)
def test_it_is_fit_for_a_folder_on_a_share(tmp_path: Path, text: str, name: str) -> None:
    volumes = {"root": filesystem(tmp_path, "root", ROOT | {"etc/hostname": text})}
    assert tables.host_name(opened(volumes, {})) == name
