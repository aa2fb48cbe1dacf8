"""What LVM reports, on recordings of every layout that it can make."""

import pytest

from lvpack_agent.lvm import vgreport
from lvpack_agent.sizes import GIB, MIB
from tests.agent.builders.recordings import LAYOUTS, NAMES, lv, reported

REPORTED = [n for n in NAMES if (LAYOUTS / n / "fullreport.json").exists() and n != "clustered-vg"]


@pytest.mark.parametrize("name", REPORTED)
def test_every_report_is_read_and_its_segments_cover_its_lvs(name: str) -> None:
    for vg in vgreport.parse((LAYOUTS / name / "fullreport.json").read_text()):
        for volume in vg.lvs:
            at = 0
            for segment in volume.segments:
                assert segment.start == at
                at += segment.count
            assert len(volume.uuid) == 38


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


def test_lvm_does_not_tell_a_clone() -> None:
    """It takes one of the two without a word in its report, so the agent compares UUIDs itself."""
    [pv] = reported("cloned-disk").pvs
    assert (pv.device, pv.duplicate) == ("/dev/vdb1", False)
