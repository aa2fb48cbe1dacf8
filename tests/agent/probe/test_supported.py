"""What lvpack refuses of what LVM can make, by name, on recordings."""

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.lvm import vgreport
from lvpack_agent.probe import supported
from tests.agent.builders.recordings import only, reported


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
