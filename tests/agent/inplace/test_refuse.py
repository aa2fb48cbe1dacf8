"""What in-place mode refuses before it begins, and between two steps."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lvpack_agent.errors import Disagreement, Failed, Refused
from lvpack_agent.filesystems import ext
from lvpack_agent.inplace import refuse
from lvpack_agent.inplace.procedure import shrinking
from lvpack_agent.inplace.steps import ReduceLv, ResizeFilesystem
from lvpack_agent.layout.content import Content
from lvpack_agent.plan import sizes
from lvpack_agent.plan.make import make_plan
from lvpack_agent.probe.discover import Found
from lvpack_agent.probe.open import Opened
from lvpack_agent.processes import run
from lvpack_agent.settings.values import Compression
from lvpack_agent.sizes import MIB
from tests.agent.builders.devices import device
from tests.agent.builders.keepers import NoKeeper
from tests.agent.builders.layouts import MARGIN, blog_layout
from tests.agent.builders.recordings import reported
from tests.agent.builders.shares import with_room


def test_a_partition_that_would_move(blog: Path) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    refuse.overlay_only(plan)
    [disk] = plan.target.disks
    assert disk.table
    first, second = disk.rows
    moved = replace(disk.table, partitions=(first, replace(second, start=second.start - MIB)))
    target = replace(plan.target, disks=(replace(disk, table=moved),))
    with pytest.raises(Refused, match="partition 2 stands after the PV and would have to move"):
        refuse.overlay_only(replace(plan, target=target))


def test_a_pv_that_lvm_may_not_allocate_on() -> None:
    vg = reported("kinds-of-pv")
    disk = device(Path("/dev/vda"))
    allowed, fixed = (
        replace(vg, pvs=tuple(pv for pv in vg.pvs if pv.allocatable == wanted)) for wanted in (True, False)
    )
    refuse.fixed_pv(Found(disks=(disk,), kept=1, vgs=(allowed,)))
    with pytest.raises(Refused, match="not allocatable"):
        refuse.fixed_pv(Found(disks=(disk,), kept=1, vgs=(fixed,)))


def test_damage_is_refused_and_what_cannot_be_read_is_no_damage(blog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = blog_layout(blog)
    places = [(0, number) for number, *_ in layout.disks[0].places()]
    lvs = {lv.uuid: f"/dev/{lv.name}" for lv in layout.vgs[0].lvs}
    source = Opened(layout=layout, partitions=dict.fromkeys(places, "/dev/p"), lvs=lvs, pvs=(), findings=(), unclean=())
    error = Failed("cannot trust the filesystem")

    def check(device: str) -> None:
        raise error

    monkeypatch.setattr(ext, "check", check)
    with pytest.raises(Refused, match="cannot trust the filesystem") as told:
        refuse.damage(source, [], lambda _: None)
    assert "e2fsck -f first" in told.value.hint
    error = ext.Unread("cannot read the filesystem")
    with pytest.raises(ext.Unread) as unread:
        refuse.damage(source, [], lambda _: None)
    assert unread.value is error


def test_a_place_without_room_for_the_largest_store(blog: Path) -> None:
    todo = shrinking(make_plan(blog_layout(blog), MARGIN))
    largest = max(sizes.rewritten(s.old, s.new) for s in todo if isinstance(s, ResizeFilesystem))
    needed = sizes.STORE_FLOOR + largest
    refuse.too_little_room(todo, NoKeeper(free=needed))
    with pytest.raises(Refused, match="nowhere has room for"):
        refuse.too_little_room(todo, NoKeeper(free=needed - 1))


@pytest.mark.parametrize(("device", "method"), [("", "none"), ("/dev/sdb1", "none"), ("/dev/sdb1", "zstd")])
def test_a_share_without_room_for_an_image_whose_size_is_known(blog: Path, device: str, method: str) -> None:
    plan = make_plan(blog_layout(blog), MARGIN)
    warned: list[str] = []

    def ask(left: int) -> None:
        refuse.no_room(with_room(left, device), plan, Compression(method=method, level=0), warned.append)

    ask(plan.packed_size)
    assert not warned
    if device and method == "none":
        with pytest.raises(Refused, match="its images take"):
            ask(plan.packed_size - 1)
        return
    ask(plan.packed_size - 1)
    assert len(warned) == (method == "none"), "what is compressed is known when it is mapped"


@pytest.mark.starts_processes
def test_the_memory_of_a_hibernated_system(tmp_path: Path) -> None:
    path = swap(tmp_path, MIB)
    refuse.suspended("LV swap", str(path))
    with path.open("r+b") as file:  # kernel: kernel/power/swap.c, HIBERNATE_SIG
        file.seek(os.sysconf("SC_PAGE_SIZE") - 10)
        file.write(b"S1SUSPEND\0")
    with pytest.raises(Refused, match="LV swap is 'swsuspend', the memory of a hibernated system"):
        refuse.suspended("LV swap", str(path))


@pytest.mark.starts_processes
def test_an_lv_that_holds_what_was_not_planned_is_not_cut(tmp_path: Path) -> None:
    path = swap(tmp_path, MIB)
    wanted = Content(type="swap", uuid=UUID, size=MIB, block_size=4096)
    refuse.cut_content(str(path), reduce(wanted))
    for other in (replace(wanted, size=MIB - 4096), replace(wanted, uuid=UUID.replace("1", "2")), Content(type="ext4")):
        with pytest.raises(Disagreement, match=f"LV swap holds {UUID} of"):
            refuse.cut_content(str(path), reduce(other))


UUID = "11111111-1111-4111-8111-111111111111"


def swap(folder: Path, size: int) -> Path:
    """Make a swap area in a file."""
    path = folder / "swap"
    with path.open("wb") as file:
        file.truncate(size)
    path.chmod(0o600)
    run(["mkswap", "--uuid", UUID, path])
    return path


def reduce(content: Content) -> ReduceLv:
    return ReduceLv(name="LV swap", lv="u", extents=1, content=content)
