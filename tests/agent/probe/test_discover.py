"""Which disks are packed, and which are refused, on recordings (tests/agent/builders/recordings.py)."""

from dataclasses import replace

import pytest

from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe.discover import find
from tests.agent.builders.recordings import LAYOUTS, listed, reported


def found(name: str) -> Refused:
    vgs = (reported(name),) if (LAYOUTS / name / "fullreport.json").exists() else ()
    with pytest.raises(Refused) as refused:
        find(listed(name), "auto", lambda devices: vgs if devices else ())
    assert refused.value.message.startswith("cannot ")
    return refused.value


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("cloned-disk", ["/dev/vdb1", "/dev/vdc1", "one and the same PV"], "lvpack.disk="),
        ("missing-pv", ["VG 'two-disks'", "a PV of it is missing"], "attach its disk"),
        ("pv-without-vg", ["no VG on /dev/vda"], PV_TYPE),
        ("pv-in-md", ["no VG", "/dev/vdb1", "md"], "linux_raid_member"),
        ("pv-in-luks", ["no VG", "/dev/vdb2", "LUKS"], "crypto_LUKS"),
    ],
)
def test_disks_that_are_not_one_plain_server_are_refused(name: str, words: list[str], hint: str) -> None:
    refused = found(name)
    for word in words:
        assert word in refused.message
    assert hint in refused.hint


def test_a_vg_of_clvmd_which_lvm_skips_is_refused_by_name() -> None:
    """LVM says so in the log of its report, and reports nothing else."""
    text = (LAYOUTS / "clustered-vg/fullreport.json").read_text()
    with pytest.raises(Refused, match=r"VG 'formerly'.*cluster") as refused:
        find(listed("clustered-vg"), "auto", lambda _: vgreport.parse(text))
    assert "vgchange" in refused.value.hint


def test_two_paths_to_one_disk_are_told_from_a_clone() -> None:
    """As a storage network shows a disk without multipath-tools: twice, with one serial number."""
    paths = tuple(replace(disk, serial="LUN-7") for disk in listed("cloned-disk"))
    with pytest.raises(Refused, match="two paths") as refused:
        find(paths, "auto", lambda _: (reported("cloned-disk"),))
    assert "lvpack.disk=/dev/" in refused.value.hint


@pytest.mark.parametrize(
    "name", ["linear-many-segments", "gpt-partition-after-pv", "msdos-logical-partitions", "4k-sectors"]
)
def test_the_disk_is_found_by_its_vg(name: str) -> None:
    vg = reported(name)
    source = find(listed(name), "auto", lambda devices: (vg,) if devices else ())
    assert vg.pvs[0].device.startswith(source.disk.path)
    assert (source.vg, source.vg_uuid) == (vg.name, vg.uuid)


def test_several_disks_with_other_partitions_are_not_collapsed() -> None:
    vg = reported("several-pvs")
    booting = tuple(
        replace(d, parts=(*d.parts, replace(d, path=f"{d.path}9", fstype="ext4"))) for d in listed("several-pvs")
    )
    with pytest.raises(Refused, match="have partitions beside their PVs") as refused:
        find(booting, "auto", lambda _: (vg,))
    assert "lvpack.collapse=no" in refused.value.hint
    assert find(booting, "auto", lambda _: (vg,), collapse=False).disks == booting


def test_named_disks_all_come_the_wanted_vg_s_first() -> None:
    """One VG on two disks, another on one of its own, and a disk without LVM."""
    two, whole = reported("several-pvs"), reported("whole-disk-pv")
    other = replace(whole, pvs=(replace(whole.pvs[0], device="/dev/vdc"),))
    [third] = [replace(d, path="/dev/vdc") for d in listed("whole-disk-pv")]
    plain = replace(third, path="/dev/vdd", fstype="ext4", uuid="")
    first, second = listed("several-pvs")

    def paths(*disks: BlockDevice, wanted: str = "auto", collapse: bool = True) -> tuple[list[str], int, list[str]]:
        source = find(disks, wanted, lambda _: (two, other), named=True, collapse=collapse)
        return [disk.path[-1] for disk in source.disks], source.kept, [vg.name for vg in source.vgs]

    assert paths(plain, first, second, third) == (["a", "c", "d", "b"], 3, ["two-disks", "whole"])
    assert paths(plain, third, first, second) == (["c", "a", "d", "b"], 3, ["whole", "two-disks"])
    assert paths(third, second, first, wanted="two-disks") == (["a", "c", "b"], 2, ["two-disks", "whole"])
    assert paths(first, second, third, plain, collapse=False) == (["a", "b", "c", "d"], 4, ["two-disks", "whole"])
    with pytest.raises(Refused, match="there are 2"):
        find((first, second, third), "auto", lambda _: (two, other))
    source = find((first, second, third, plain), "two-disks", lambda _: (two, other))
    assert (source.paths, source.kept) == (("/dev/vda", "/dev/vdb"), 1), "auto follows the VG"
    with pytest.raises(Refused, match="VG 'two-disks': a PV of it is missing") as refused:
        paths(third, first)
    assert "lvpack.disk= must name it too" in refused.value.hint
    member = replace(plain, fstype="linux_raid_member", parts=(replace(plain, path="/dev/vdd1"),))
    with pytest.raises(Refused, match="disk '/dev/vdd': it is a member of an md array, and has partitions"):
        paths(first, second, third, member)
    with pytest.raises(Refused, match="there are two of that name"):
        find((first, second, third), "two-disks", lambda _: (two, other, replace(other, uuid="U")), named=True)


def test_disks_that_belong_together_are_found_together() -> None:
    [vg] = vgreport.parse((LAYOUTS / "several-pvs/fullreport.json").read_text())
    source = find(listed("several-pvs"), "auto", lambda _: (vg,))
    assert [disk.path for disk in source.disks] == ["/dev/vda", "/dev/vdb"]
    whole = reported("whole-disk-pv")
    assert find(listed("whole-disk-pv"), "auto", lambda _: (whole,)).disk.path == "/dev/vdb"
