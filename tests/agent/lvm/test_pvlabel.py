"""A PV's label and metadata areas, on the recording of a PV that has two."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvpack_agent.errors import Failed
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.lvm import pvlabel, vgtext
from lvpack_agent.sizes import KIB, MIB

DATA = Path(__file__).parents[2] / "data/layouts/two-metadata-areas"
PV = gzip.decompress((DATA / "pv.gz").read_bytes())
LABEL = 512
FIRST = 4 * KIB


@pytest.fixture
def pv(tmp_path: Path) -> Path:
    path = tmp_path / "pv"
    path.write_bytes(PV)
    return path


def vg_of(text: bytes) -> str:
    """Return of a metadata text what the disk and a backup have in common: the VG, without comments."""
    vg = vgtext.parse(text.rstrip(b"\0").decode()).section("areas")
    bare = [line.partition("#")[0].strip() for line in vgtext.render(vg).splitlines()]
    return "\n".join(line for line in bare if line)


def test_areas_and_their_texts(pv: Path) -> None:
    first, second = pvlabel.areas(str(pv))
    assert first.start == FIRST and second.start + second.size == 4 * MIB
    texts = [pvlabel.text(str(pv), area) for area in (first, second)]
    assert texts[0] == texts[1]
    assert vg_of(texts[0]) == vg_of((DATA / "areas.vgcfgbackup").read_bytes())
    assert texts[0] not in PV[first.start : first.start + first.size], "it goes on at the start of the area"


def test_second_area_is_removed_and_added(pv: Path) -> None:
    first, second = pvlabel.areas(str(pv))
    text = pvlabel.text(str(pv), second)
    for _ in range(2):  # again, as by a later boot
        pvlabel.remove_second_area(str(pv))
        assert pvlabel.areas(str(pv)) == (first,)
    assert pv.read_bytes()[:LABEL] + pv.read_bytes()[LABEL + 512 :] == PV[:LABEL] + PV[LABEL + 512 :]
    elsewhere = MetadataArea(start=3 * MIB + 512, size=64 * KIB)
    pvlabel.add_second_area(str(pv), elsewhere)
    assert pvlabel.areas(str(pv)) == (first, elsewhere)
    assert pvlabel.text(str(pv), elsewhere) == text
    pvlabel.remove_second_area(str(pv))
    pvlabel.add_second_area(str(pv), second)
    assert pv.read_bytes()[:MIB] == PV[:MIB]
    assert pvlabel.text(str(pv), second) == text


def test_second_area_that_is_newer_stays(pv: Path) -> None:
    first, second = pvlabel.areas(str(pv))
    newer = pvlabel.text(str(pv), first).replace(b"seqno = ", b"seqno = 9")
    data = bytearray(PV)
    written = pvlabel.header(second, newer) + newer
    data[second.start : second.start + len(written)] = written
    pv.write_bytes(data)
    assert pvlabel.text(str(pv), second) == newer
    with pytest.raises(Failed, match="they have different metadata"):
        pvlabel.check(str(pv))
    with pytest.raises(Failed, match="the first is older"):
        pvlabel.remove_second_area(str(pv))
    assert pv.read_bytes() == data


@pytest.mark.parametrize("where", [0, 512])
def test_second_area_that_is_damaged_goes(pv: Path, where: int) -> None:
    first, second = pvlabel.areas(str(pv))
    pvlabel.check(str(pv))
    data = bytearray(PV)
    data[second.start + where : second.start + second.size] = bytes(second.size - where)
    pv.write_bytes(data)
    with pytest.raises(Failed, match=f"at byte {second.start:,} of the PV: its (header|text) is damaged"):
        pvlabel.check(str(pv))
    pvlabel.remove_second_area(str(pv))
    assert pvlabel.areas(str(pv)) == (first,)
    pvlabel.check(str(pv))


def test_area_that_is_too_small(pv: Path) -> None:
    pvlabel.remove_second_area(str(pv))
    before = pv.read_bytes()
    with pytest.raises(Failed, match="the metadata is larger"):
        pvlabel.add_second_area(str(pv), MetadataArea(start=3 * MIB, size=KIB))
    assert pv.read_bytes() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, 511), flipped=st.integers(1, 255), where=st.sampled_from([LABEL, FIRST]))
def test_damage_is_noticed(pv: Path, offset: int, flipped: int, where: int) -> None:
    data = bytearray(PV)
    data[where + offset] ^= flipped
    pv.write_bytes(data)
    with pytest.raises(Failed):
        pvlabel.text(str(pv), pvlabel.areas(str(pv))[0])
    with pytest.raises(Failed):
        pvlabel.remove_second_area(str(pv))
    assert pv.read_bytes() == data


def test_text_that_is_damaged(pv: Path) -> None:
    data = PV.replace(b"logical_volumes", b"logical_volumez")
    pv.write_bytes(data)
    with pytest.raises(Failed, match="text is damaged"):
        pvlabel.remove_second_area(str(pv))
    assert pv.read_bytes() == data


def test_no_label(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(bytes(4 * KIB))
    with pytest.raises(Failed, match="it is missing or damaged"):
        pvlabel.areas(str(tmp_path / "empty"))
    (tmp_path / "short").write_bytes(bytes(KIB))
    with pytest.raises(Failed, match="it ends before that"):
        pvlabel.areas(str(tmp_path / "short"))
