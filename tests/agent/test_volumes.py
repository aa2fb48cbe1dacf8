"""Where a run goes on, by what LVM reports of the disk; on recordings."""

from dataclasses import replace

import pytest

from lvpack_agent.errors import Disagreement, Refused
from lvpack_agent.inplace.disk import Volumes, position
from lvpack_agent.inplace.steps import MarkVg, MoveExtents, states
from lvpack_agent.layout.extents import Move
from lvpack_agent.layout.layout import Layout
from lvpack_agent.lvm import pvmove, vgreport
from lvpack_agent.plan.values import Plan
from lvpack_agent.probe import convert
from tests.agent.builders.recordings import reported

DEVICE = "/dev/vda1"
PLAN = Plan(source=Layout(disks=(), vgs=()), target=Layout(disks=(), vgs=()), rows=(), moves=(), store=0)


def volumes(monkeypatch: pytest.MonkeyPatch, found: vgreport.Vg) -> Volumes:
    """Return what is opened of a whole PV of which LVM reports this."""
    monkeypatch.setattr(vgreport, "read", lambda devices: (found,))
    return Volumes(table=None, partitions={}, pv=DEVICE, number=0, vg=found.name, lvs={}, names={})


def test_pvmove_that_was_cut_off_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """LV root is where it was to go, extents 0-9: the move is done; or where it was: it is yet to be made."""
    found = reported("pvmove-cut-off")
    left = pvmove.left_over(found)
    bare = replace(found, lvs=tuple(lv for lv in found.lvs if lv is not left))
    vg = convert.volume_group(bare, {DEVICE: (0, 0)}, {})
    opened = volumes(monkeypatch, found)
    pv = vg.pvs[0].uuid
    for source, target, ahead in ((100, 0, 1), (0, 100, 0)):
        move = Move(pv=pv, source=source, target=target, count=10)
        steps = (MarkVg(on=True), MoveExtents(move=move))
        before = states(vg, (MoveExtents(move=move.reversed()),))[-1] if ahead else vg
        assert position(opened, PLAN, steps, states(before, steps), 1) == 1 + ahead
        with pytest.raises(Refused, match="'pvmove0' is of type error"):
            position(opened, PLAN, steps, states(before, steps), 0)
    away, on = (MoveExtents(move=Move(pv=pv, source=a, target=b, count=10)) for a, b in ((0, 100), (100, 200)))
    with pytest.raises(Disagreement, match="LV root on 0-9"):
        position(opened, PLAN, (on,), states(states(vg, (away,))[-1], (on,)), 0)
