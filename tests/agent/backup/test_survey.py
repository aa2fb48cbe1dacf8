"""What a backup refuses before it plans, on recordings."""

from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.backup import survey
from lvpack_agent.devices import ioerrors
from lvpack_agent.errors import Absent, Failed, Refused
from lvpack_agent.lvm.tags import MERGE_TAG, TAG, merges
from lvpack_agent.probe.discover import Found, find
from tests.agent.builders.recordings import listed, reported


def found(name: str) -> Found:
    return find(listed(name), "auto", lambda devices: (reported(name),) if devices else ())


def tagged(source: Found, *tags: str) -> Found:
    [vg] = source.vgs
    return replace(source, vgs=(replace(vg, tags=tags),))


def test_in_place_mode_takes_one_pv_on_one_disk() -> None:
    survey.refuse_several(found("whole-disk-pv"))
    with pytest.raises(Refused, match="in place: its disks have 2 PVs") as refused:
        survey.refuse_several(found("several-pvs"))
    assert "overlay mode can" in refused.value.hint
    one = found("whole-disk-pv")
    with pytest.raises(Refused, match="in place: that is for one disk"):
        survey.refuse_several(replace(one, disks=(*one.disks, replace(one.disk, path="/dev/vdz"))))


def test_nothing_on_a_disk_that_cannot_be_read_is_a_failure() -> None:
    with pytest.raises(Absent) as absent:
        find(listed("whole-disk-pv"), "auto", lambda _: ())
    survey.refuse_unread(absent.value, [])
    [error] = ioerrors.parse("I/O error, dev vda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2\n")
    with pytest.raises(Failed) as failed:
        survey.refuse_unread(absent.value, [error])
    assert failed.value.message == f"{absent.value.message}; the kernel says: {error}"
    assert failed.value.hint.endswith(absent.value.hint)


def test_a_vg_that_an_in_place_run_left_marked_is_refused() -> None:
    source = found("whole-disk-pv")
    survey.refuse_marked(tagged(source, "a-tag", "lvpack"))
    for tag in (TAG, f"{MERGE_TAG}0123abcd"):
        with pytest.raises(Refused, match=f"it has the tag {tag}, so an in-place run was cut off") as refused:
            survey.refuse_marked(tagged(source, "a-tag", tag))
        assert "do not start" in refused.value.hint
    with pytest.raises(Refused) as refused:
        survey.refuse_marked(tagged(source, TAG), [Path("/share/other.unfinished")], "mine.unfinished")
    assert "other.unfinished" in refused.value.hint and "'mine.unfinished'" in refused.value.hint


def test_merges_that_have_begun_are_known_by_their_tags() -> None:
    assert merges(["a", TAG, f"{MERGE_TAG}12ab", f"{MERGE_TAG}34cd"]) == ["12ab", "34cd"]
