"""What the console says of each step, and the form in which a journal has it."""

import json

from lvpack_agent.inplace.procedure import form
from lvpack_agent.inplace.steps import (
    AddArea,
    ExtendLv,
    MakeSwap,
    MarkVg,
    MoveExtents,
    ReduceLv,
    RemoveArea,
    ResizeFilesystem,
    ResizePv,
    WriteTable,
)
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.disks import PartitionTable
from lvpack_agent.layout.extents import Move, Segment
from lvpack_agent.layout.volumes import MetadataArea
from lvpack_agent.sizes import GIB, MIB
from tests.agent.builders.layouts import ext

SWAP = Content(type="swap", uuid="s", size=32 * MIB, block_size=4096)
LARGE, SMALL = ext(GIB, MIB), ext(512 * MIB, MIB)


def test_what_the_console_says() -> None:
    said = {
        MarkVg(on=True): "mark the VG (tag lvpack-inplace)",
        MarkVg(on=False): "unmark the VG (tag lvpack-inplace)",
        ResizeFilesystem(name="LV a", lv="u", old=LARGE, new=SMALL): "resize LV a from 1.00 GiB to 512 MiB",
        ResizeFilesystem(name="partition 1", partition=1, old=SMALL, new=SMALL): "repair partition 1",
        MakeSwap(name="LV swap", lv="u", new=SWAP): "swap LV swap of 32.0 MiB",
        ReduceLv(name="LV a", lv="u", extents=1, content=SMALL): "reduce LV a to 1 extent",
        ExtendLv(name="LV a", lv="u", segment=Segment(le=1, pv="p", pe=7, count=2)): "extend LV a by 2 extents at 7",
        MoveExtents(move=Move(pv="p", source=9, target=0, count=3)): "move 3 extents from 9 to 0",
        RemoveArea(): "remove-area: the PV's second metadata area",
        AddArea(area=MetadataArea(start=2 * MIB, size=MIB)): (
            "add-area: a second metadata area of 1.00 MiB at byte 2,097,152 of the PV"
        ),
        ResizePv(extents=28): "resize-pv to 28 extents",
        WriteTable(table=PartitionTable(label="dos", id="0x1", partitions=()), size=GIB): (
            "table for a disk of 1.00 GiB"
        ),
    }
    assert {step: str(step) for step in said} == said


def test_what_a_journal_has() -> None:
    steps = (MarkVg(on=True), MoveExtents(move=Move(pv="p", source=9, target=0, count=3)), ResizePv(extents=28))
    assert json.loads(json.dumps(form(steps))) == [
        {"step": "MarkVg", "on": True},
        {"step": "MoveExtents", "move": {"pv": "p", "source": 9, "target": 0, "count": 3, "to": ""}},
        {"step": "ResizePv", "extents": 28},
    ]
