from dataclasses import replace

from lvpack_agent.probe import convert
from lvpack_agent.sizes import GIB, KIB, MIB
from tests.agent.builders.recordings import lv, reported


def test_hundreds_of_segments() -> None:
    vg = reported("linear-many-segments")
    assert [len(lv(vg, name).segments) for name in ("even", "odd")] == [100, 50]
    pieces = [convert.segment(s, {"/dev/vda1": "pv"}) for s in lv(vg, "odd").segments]
    assert [(s.le, s.pe) for s in pieces[:3]] == [(0, 199), (1, 195), (2, 191)]


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
