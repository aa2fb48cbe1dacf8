"""The readers on recordings of every layout that LVM can make, and what the agent refuses of them, by name.

tests/data/layouts: README in each folder has the commands that made the layout and each file.
"""

from dataclasses import replace

import pytest

from lvpack_agent.devices import blkid, sfdisk
from lvpack_agent.devices.lsblk import BlockDevice
from lvpack_agent.errors import Refused
from lvpack_agent.filesystems import ext
from lvpack_agent.layout.content import PV_TYPE
from lvpack_agent.lvm import pvmove, vgreport
from lvpack_agent.probe import convert, supported
from lvpack_agent.probe.discover import find
from lvpack_agent.sizes import GIB, KIB, MIB
from tests.agent.builders.recordings import DATA, NAMES, listed, lv, only, reported

# ---- lvm.parse


REPORTED = [n for n in NAMES if (DATA / n / "fullreport.json").exists() and n != "clustered-vg"]


@pytest.mark.parametrize("name", REPORTED)
def test_every_report_is_read_and_its_segments_cover_its_lvs(name: str) -> None:
    for vg in vgreport.parse((DATA / name / "fullreport.json").read_text()):
        for volume in vg.lvs:
            at = 0
            for segment in volume.segments:
                assert segment.start == at
                at += segment.count
            assert len(volume.uuid) == 38


def test_hundreds_of_segments() -> None:
    vg = reported("linear-many-segments")
    assert [len(lv(vg, name).segments) for name in ("even", "odd")] == [100, 50]
    pieces = [convert.segment(s, {"/dev/vda1": "pv"}) for s in lv(vg, "odd").segments]
    assert [(s.le, s.pe) for s in pieces[:3]] == [(0, 199), (1, 195), (2, 191)]


def test_ranges_of_a_striped_segment() -> None:
    first, second = lv(reported("striped"), "fast").segments
    assert (first.type, first.ranges) == ("striped", ("/dev/vdb:0-7", "/dev/vdc:0-7"))
    assert (second.type, second.start, second.count, second.ranges) == ("linear", 16, 3, ("/dev/vdc:8-10",))


def test_tags_and_names() -> None:
    vg = reported("names-and-tags")
    assert vg.name == "a_b+c.d-e--f"
    assert sorted(vg.tags) == ["a=b#c/d!e:f&g", "vg.tag"]
    assert {".dotted", "x--y_+", "fixed"} < {lv.name for lv in vg.lvs}
    assert max(len(lv.name) for lv in vg.lvs) == 99
    assert lv(vg, "x--y_+").device == "/dev/mapper/a_b+c.d--e----f-x----y_+"


def test_kinds_of_pv() -> None:
    pvs = {pv.device[-1]: pv for pv in reported("kinds-of-pv").pvs}
    assert [pvs[n].metadata_areas for n in "123456"] == [2, 1, 1, 0, 1, 1]
    assert [pvs[n].bootloader_area for n in "123456"] == [0, MIB, 0, 0, 0, 0]
    assert pvs["3"].pe_start == 3 * MIB + 7 * 512
    assert pvs["5"].size == GIB and pvs["5"].extents * 4 * MIB < 300 * MIB
    assert [pvs[n].allocatable for n in "123456"] == [True] * 5 + [False]
    places = {pv.device: (0, int(n)) for n, pv in pvs.items()}
    vg = convert.volume_group(reported("kinds-of-pv"), places, {})
    assert [pv.metadata_areas for pv in vg.pvs] == [2, 1, 1, 0, 1, 1]
    whole = convert.physical_volume(replace(pvs["1"], area_size=1020 * KIB), (0, 0), vg.extent_size)
    assert whole.size == MIB + 255 * 4 * MIB + 1020 * KIB, "the least that it needs"


@pytest.mark.parametrize(("name", "extent"), [("extent-of-1g", GIB), ("striped", 4 * MIB), ("4k-sectors", MIB)])
def test_extent_sizes(name: str, extent: int) -> None:
    assert reported(name).extent_size == extent


def test_states() -> None:
    assert reported("exported-vg").exported
    assert reported("foreign-vg").system_id == "other.example"
    assert reported("shared-vg").clustered
    assert not reported("read-only-vg").writable
    missing = reported("missing-pv")
    assert missing.partial and [pv.device for pv in missing.pvs if pv.missing] == ["[unknown]"]
    whole = reported("several-pvs")
    assert not (whole.partial or whole.exported or whole.system_id or whole.clustered) and whole.writable


# ---- Tables, disks, contents


def test_logical_partitions_and_their_gaps() -> None:
    table, sector = sfdisk.parse((DATA / "msdos-logical-partitions/sfdisk.json").read_text())
    assert sector == 512
    assert [(p.number, p.start // MIB, p.size // MIB, p.type) for p in table.partitions] == [
        (1, 1, 50, "83"),
        (3, 60, 900, "f"),
        (5, 61, 100, "83"),
        (6, 200, 300, "8e"),
        (7, 600, 100, "82"),
    ]
    assert table.extended == table.partition(3)


def test_gpt_names_attributes_and_order() -> None:
    table, _ = sfdisk.parse((DATA / "gpt-partition-after-pv/sfdisk.json").read_text())
    assert table.label == "gpt"
    assert {(p.number, p.start // MIB, p.name, p.attributes) for p in table.partitions} == {
        (1, 1, 'BIOS "boot"', "LegacyBIOSBootable"),
        (3, 2, "", ""),
        (7, 300, "grüße", ""),
    }
    # As sfdisk is told it again.
    assert "1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=" in sfdisk.render(table, 512)


def test_sectors_of_4_kib() -> None:
    table, sector = sfdisk.parse((DATA / "4k-sectors/sfdisk.json").read_text())
    assert sector == 4096
    assert next((p.number, p.start, p.size) for p in table.partitions) == (1, MIB, 100 * MIB)
    disk = next(d for d in listed("4k-sectors") if d.path == "/dev/vdd")
    assert disk.sector_size == 4096
    assert disk.parts[1].size == table.partitions[1].size
    assert reported("4k-sectors").pvs[0].size == table.partitions[1].size


def test_blkid() -> None:
    def facts(name: str) -> dict[str, str]:
        return blkid.parse((DATA / name).read_text())

    assert facts("gpt-partition-after-pv/blkid-vdb7.txt")["LABEL"] == "a label"
    assert facts("msdos-logical-partitions/blkid-vdb7.txt")["TYPE"] == "swap"
    assert facts("msdos-logical-partitions/blkid-vdb3.txt").get("PTTYPE") == "dos"
    assert facts("linear-many-segments/blkid-vda1.txt")["TYPE"] == PV_TYPE
    assert facts("pv-in-luks/blkid-vdb2.txt")["TYPE"] == "crypto_LUKS"
    assert {facts(f"pv-in-md/blkid-vdb{n}.txt")["TYPE"] for n in (1, 2)} == {"linux_raid_member"}
    journal = facts("external-journal/blkid-vdb2.txt")
    assert journal["TYPE"] == "jbd"
    assert facts("external-journal/blkid-vdb1.txt")["EXT_JOURNAL"] == journal["LOGUUID"]


def test_a_filesystem_with_its_journal_elsewhere() -> None:
    block = ext.parse((DATA / "external-journal/dumpe2fs-vdb1.txt").read_text())
    assert "has_journal" in block.features and block.clean


# ---- What is refused


def refusal(vg: vgreport.Vg) -> Refused:
    with pytest.raises(Refused) as refused:
        supported.refuse_unsupported(vg)
    assert refused.value.message.startswith("cannot pack ")
    assert refused.value.hint
    return refused.value


@pytest.mark.parametrize(
    ("name", "volumes", "type"),
    [
        ("mirror", ["corelog"], "mirror"),
        ("mirror", ["disklog"], "mirror"),
        ("raid", ["r1"], "raid1"),
        ("raid", ["r4"], "raid4"),
        ("raid", ["r5"], "raid5"),
        ("raid", ["r6"], "raid6"),
        ("raid", ["r10"], "raid10"),
        ("integrity", ["safe"], "raid1"),
        ("integrity", ["safe"], "integrity"),
        ("thin", ["pool", "thin", "thinsnap"], "thin"),
        ("snapshot", ["origin", "yesterday"], "snapshot"),
        ("cache", ["pooled", "pool", "pool_cpool"], "cache"),
        ("cache", ["attached", "vol"], "cache"),
        ("writecache", ["slow", "quick"], "writecache"),
        ("vdo", ["pool", "small"], "vdo"),
        ("pvmove", ["pvmove0", "root"], "pvmove"),
        ("pvmove-cut-off", ["pvmove0"], "error"),
    ],
)
def test_every_other_type_of_lv_is_refused_by_name(name: str, volumes: list[str], type: str) -> None:
    """By a name that people gave, or see: not that of a part that LVM made."""
    said = refusal(only(reported(name), volumes)).message
    assert any(f"'{volume}'" in said for volume in volumes), said
    assert type in said


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("missing-pv", "VG 'two-disks': a PV of it is missing", "vgreduce --removemissing"),
        ("exported-vg", "VG 'leaving': it is exported", "vgimport"),
        ("foreign-vg", "VG 'elsewhere': it belongs to system 'other.example'", "vgchange --systemid"),
        ("shared-vg", "VG 'cluster': it is a cluster's", "vgchange --lock-type none"),
        ("read-only-vg", "VG 'fixed': it is read-only", "writable"),
        ("vg-without-lv", "VG 'empty': it has no LV", "nothing"),
        ("pv-without-vg", "a PV without a VG", "pvremove"),
    ],
)
def test_states_of_a_vg_are_refused_by_name(name: str, words: str, hint: str) -> None:
    refused = refusal(reported(name))
    assert words in refused.message
    assert hint in refused.hint


def test_pvmove_that_is_under_way_or_was_cut_off_at_its_end() -> None:
    running, cut_off, plain = (reported(name) for name in ("pvmove", "pvmove-cut-off", "several-pvs"))
    assert [bool(pvmove.under_way(vg)) for vg in (running, cut_off, plain)] == [True, False, False]
    assert [pvmove.left_over(vg) for vg in (running, plain)] == [None, None]
    assert pvmove.left_over(cut_off) == lv(cut_off, "pvmove0")


def test_plain_vgs_are_not_refused() -> None:
    for name in (
        "linear-many-segments",
        "names-and-tags",
        "extent-of-1g",
        "4k-sectors",
        "striped",
        "several-pvs",
        "kinds-of-pv",
    ):
        supported.refuse_unsupported(reported(name))


def found(name: str) -> Refused:
    vgs = (reported(name),) if (DATA / name / "fullreport.json").exists() else ()
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
    text = (DATA / "clustered-vg/fullreport.json").read_text()
    with pytest.raises(Refused, match=r"VG 'formerly'.*cluster") as refused:
        find(listed("clustered-vg"), "auto", lambda _: vgreport.parse(text))
    assert "vgchange" in refused.value.hint


def test_two_paths_to_one_disk_are_told_from_a_clone() -> None:
    """As a storage network shows a disk without multipath-tools: twice, with one serial number."""
    paths = tuple(replace(disk, serial="LUN-7") for disk in listed("cloned-disk"))
    with pytest.raises(Refused, match="two paths") as refused:
        find(paths, "auto", lambda _: (reported("cloned-disk"),))
    assert "lvpack.disk=/dev/" in refused.value.hint


def test_lvm_does_not_tell_a_clone() -> None:
    """It takes one of the two without a word in its report, so the agent compares UUIDs itself."""
    [pv] = reported("cloned-disk").pvs
    assert (pv.device, pv.duplicate) == ("/dev/vdb1", False)


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
    [vg] = vgreport.parse((DATA / "several-pvs/fullreport.json").read_text())
    source = find(listed("several-pvs"), "auto", lambda _: (vg,))
    assert [disk.path for disk in source.disks] == ["/dev/vda", "/dev/vdb"]
    whole = reported("whole-disk-pv")
    assert find(listed("whole-disk-pv"), "auto", lambda _: (whole,)).disk.path == "/dev/vdb"
