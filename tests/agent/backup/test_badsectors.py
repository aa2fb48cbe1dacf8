"""Bad sectors by name. Disks are files here; what maps and mounts is tested in guests."""

import errno
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lvpack_agent import places
from lvpack_agent.backup import badsectors
from lvpack_agent.backup.badsectors import Holes, Origin
from lvpack_agent.devices import ioerrors
from lvpack_agent.devices.direct import DirectReader
from lvpack_agent.errors import Failed
from lvpack_agent.image.losses import Loss
from lvpack_agent.image.salvage import Salvage, Unreadable
from lvpack_agent.layout.content import Content
from lvpack_agent.layout.layout import Layout
from lvpack_agent.layout.ranges import Range
from lvpack_agent.layout.spots import FREE, Spot, spots
from lvpack_agent.probe.open import Volume
from lvpack_agent.sizes import KIB, MIB
from tests.agent.builders.layouts import blog_layout

BLOCK = 4 * KIB
UNREADABLE = Unreadable("cannot read '/dev/mapper/lvpack-packed' at byte 9: x", at=0, number=errno.EIO)


def origin_of(layout: Layout, path: str = "/dev/vda") -> Origin:
    return Origin(layout=layout, paths=(path,), locate=partial(spots, layout))


def byte_of(layout: Layout, lv: str, offset: int) -> int:
    """Return the byte of the disk that a byte of the first segment of an LV is."""
    [vg] = layout.vgs
    segment = next(found for found in vg.lvs if found.name == lv).segments[0]
    return layout.first_extent(vg.pvs[0]) + segment.pe * vg.extent_size + offset


def test_a_spot_is_a_loss_for_each_file_in_it(blog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    uuid = next(lv.uuid for lv in vg.lvs if lv.name == "var")
    files = {2: "/one", 3: "/one", 4: "/two", 5: FREE}
    monkeypatch.setattr(badsectors, "owners", lambda *_: files)
    volume = Volume(key=uuid, name="LV var", device="", content=Content(type="ext4", block_size=BLOCK))
    origin = origin_of(layout)
    at = byte_of(layout, "var", 2 * BLOCK + 512)
    lost = list(origin.locate(0, at, 4 * BLOCK))
    found = badsectors.named(lost, origin, [volume], Path())
    assert [(loss.sector * 512 - at, loss.sectors, loss.offset, loss.file) for loss in found] == [
        (0, 15, 2 * BLOCK + 512, "/one"),
        (2 * BLOCK - 512, 8, 4 * BLOCK, "/two"),
        (3 * BLOCK - 512, 8, 5 * BLOCK, FREE),
        (4 * BLOCK - 512, 1, 6 * BLOCK, ""),
    ]
    assert {(loss.disk, loss.volume) for loss in found} == {("/dev/vda", "LV var")}
    [loss] = badsectors.named(lost, origin, [], Path())
    assert (loss.sectors, loss.file) == (32, "")


def test_holes_are_named_too_and_extents_that_no_lv_has_are_free(blog: Path) -> None:
    layout = blog_layout(blog)
    [vg] = layout.vgs
    last = layout.first_extent(vg.pvs[0]) + (vg.pvs[0].extents - 1) * vg.extent_size
    end = layout.disks[0].size
    layout = replace(layout, disks=(replace(layout.disks[0], size=end + MIB),))
    ranges = tuple(Range(start=start, count=512) for start in (512, MIB, last, end))
    holes = Holes(ranges={"/dev/vda": ranges})
    assert holes.count == 2048
    found = badsectors.named(list(holes.spots(origin_of(layout))), origin_of(layout), [], Path())
    assert [(loss.volume, loss.file) for loss in found] == [
        ("no partition", ""),  # a boot loader may be in it
        ("partition 1", ""),
        ("free in VG vg1", FREE),
        ("behind the last partition", FREE),
    ]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, set[int]]:
    """A file with bad sectors, which a test may add to."""
    path, bad = tmp_path / "disk", set[int]()
    path.write_bytes(bytes(MIB))
    monkeypatch.setattr(
        DirectReader, "reads", lambda _, at, count: not any(at <= sector * 512 < at + count for sector in bad)
    )
    monkeypatch.setattr(badsectors, "size_of", lambda _: MIB)
    return str(path), bad


def test_an_unreadable_byte_is_a_sector_of_the_disk(
    blog: Path, disk: tuple[str, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = disk
    layout = blog_layout(blog)
    at = byte_of(layout, "root", 8 * BLOCK)
    bad.add(at // 512 + 3)
    error = Unreadable(UNREADABLE.message, at=at, number=errno.EIO)

    def named(lost: list[Spot], *_: object) -> list[Loss]:
        [spot] = lost
        return [Loss(disk=path, sector=spot.start // 512, sectors=1, volume=spot.name, offset=spot.at, file="/a b")]

    monkeypatch.setattr(badsectors, "named_in_packed", named)
    told = badsectors.explained(error, origin_of(layout, path), 0, [], layout, Path())
    assert told.message == (
        f"cannot read disk '{path}' at sector {at // 512 + 3} (LV root, byte {8 * BLOCK + 3 * 512:,}, file '/a b'): "
        "Input/output error"
    )
    assert "lvpack.errors=skip" in told.hint


def test_a_disk_that_can_be_read_is_not_said_to_be_bad(blog: Path, disk: tuple[str, set[int]]) -> None:
    path, bad = disk
    origin = origin_of(blog_layout(blog), path)
    told = badsectors.explained(UNREADABLE, origin, 0, [], origin.layout, Path())
    assert told.message == UNREADABLE.message and "store" in told.hint
    with badsectors.salvage(origin, 0, path) as salvage:
        for _ in range(badsectors.TRIES - 1):
            assert salvage._judge((Range(start=512, count=512),)), "a sector that fails now and then is read once more"
        with pytest.raises(Failed, match="it is the copy-on-write store that fails"):
            salvage._judge((Range(start=512, count=512),))
        bad.add(1)
        assert not salvage._judge((Range(start=512, count=512),))
        bad |= set(range(MIB // 512))
        with pytest.raises(Failed, match="does not answer any more"):
            salvage._judge((Range(start=512, count=512),))


def test_what_was_given_up_in_a_hole_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = [0.0]

    def read(at: int, count: int) -> bytes:
        now[0] += 40
        raise OSError(errno.EIO, "")

    def tried(path: str, start: int, sector: int) -> Salvage:
        made = Salvage(read, sector, clock=lambda: now[0])
        made.fill(memoryview(bytearray(MIB)), start)
        return made

    error = ioerrors.DiskError(kind="I/O error", name="vda", sector=0, operation="READ")
    monkeypatch.setattr(ioerrors, "read", lambda: (error,))
    monkeypatch.setattr(badsectors, "_tried", tried)
    monkeypatch.setattr(places, "AWAY", tmp_path / "away")
    holes = Holes()
    assert holes.widen(["/dev/vda"], {"/dev/vda": 512}) == MIB
    assert holes.untried == MIB, "no sector by itself was tried"


def test_a_disk_is_read_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"a" * 4096 + b"b" * 1024)
    with DirectReader(str(path)) as reader:
        assert reader.read(4096, 512) == b"b" * 512
        assert reader.reads(0, 4096) and not reader.reads(4096, 4096)
