"""Compaction: no extent is lost, no hole is left, nothing moves without need."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lvpack_agent.layout.extents import joined_segments
from lvpack_agent.layout.volumes import VolumeGroup
from lvpack_agent.plan.compact import compact, moved, relocated, truncated, whole_stripes
from tests.agent.builders.layouts import extent_owners, vgs


@given(vgs(), st.data())
def test_compaction_keeps_every_extent_and_leaves_no_hole(vg: VolumeGroup, data: st.DataObject) -> None:
    cut = tuple(truncated(lv, whole_stripes(lv, data.draw(st.integers(1, lv.extents)))) for lv in vg.lvs)
    shrunk = replace(vg, lvs=cut)
    homes = {pv.uuid: "pv0" for pv in vg.pvs[1:] if data.draw(st.booleans())}
    moves = compact(shrunk, homes)
    packed = moved(shrunk, moves, homes)
    before, after = extent_owners(shrunk), extent_owners(packed)
    assert sorted(after.values()) == sorted(before.values())
    for pv in packed.pvs:
        used = sorted(pe for uuid, pe in after if uuid == pv.uuid)
        assert used == list(range(len(used)))
        assert pv.extents == max(1, len(used))
    for move in moves:
        for i in range(move.count):
            assert before[move.pv, move.source + i] == after[move.home, move.target + i]
    # No compaction can move less than what is beyond its end, and no move overlaps its own place.
    for pv in packed.pvs:
        used_count = sum(uuid == pv.uuid for uuid, _ in after)
        moving = [m for m in moves if m.home == pv.uuid and not m.stays]
        stay = sum(uuid == pv.uuid and pe < used_count for uuid, pe in before)
        assert sum(m.count for m in moving) == used_count - stay
        assert all(m.to or m.source >= used_count >= m.target + m.count for m in moving)
    assert all(len({before[m.pv, m.source + i][0] for i in range(m.count)}) == 1 for m in moves)


@given(vgs(), st.data())
def test_moves_one_by_one_lead_to_the_same(vg: VolumeGroup, data: st.DataObject) -> None:
    moves = compact(vg)
    stepwise = replace(vg, lvs=tuple(replace(lv, segments=joined_segments(lv.segments)) for lv in vg.lvs))
    for move in data.draw(st.permutations([m for m in moves if not m.stays])):
        stepwise = relocated(stepwise, move)
    assert stepwise.lvs == moved(vg, moves).lvs
