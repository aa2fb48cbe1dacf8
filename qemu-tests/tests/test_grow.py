"""A restore that grows: sizes by lvs, every file and identity, rules that are refused, and what a power cut leaves."""

from collections.abc import Sequence
from random import Random, SystemRandom

import pytest
from click.testing import CliRunner

from lab.runs import Lab, assert_ended, fingerprint, started
from lab.writelog import WriteLog
from lvpack_agent.image import check
from lvpack_agent.processes import ToolFailed, run
from lvpack_agent.restore import mark
from lvpack_agent.sizes import MIB, parse_size
from lvpack_builder.cli.main import main
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.demo import boot_to_login, sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.runs import SharedFolder, served_folder, shared_arguments
from lvpack_builder.lab.sample.server import drives_of, make_disks, make_sample, recipe_of

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(2400), pytest.mark.xdist_group("grow")]
full = pytest.mark.full

RESTORE = ("lvpack.action=restore", "lvpack.source=one")
# Runs in the live image: what a restored system would see of its filesystems and swap, whose first page is its header.
LOOK = r"""
set -e
for vg in $(vgs --noheadings -o vg_name); do vgchange --activate y $vg > /dev/null; done
for lv in $(lvs --noheadings -o lv_dm_path); do
    type=$(blkid -p -o value -s TYPE $lv || true)
    case "$type" in
        ext*) e2fsck -fn $lv > /dev/null 2>&1; blocks=$(dumpe2fs -h $lv 2> /dev/null | sed -n "s/^Block count: *//p")
            size=$(dumpe2fs -h $lv 2> /dev/null | sed -n "s/^Block size: *//p"); echo "$lv $((blocks * size)) 0" ;;
        xfs) alone=; [ "$(xfs_db -r -c "sb 0" -c "p agcount" $lv)" != "agcount = 1" ] || alone="-o force_geometry"
            xfs_repair -n $alone $lv > /dev/null 2>&1
            xfs_db -r -c "sb 0" -c "p blocksize dblocks agcount" $lv | sed "s/.*= //" | tr "\n" " " |
                (read size blocks groups || true; echo "$lv $((blocks * size)) $groups") ;;
        swap) swapon $lv; echo "$lv $(($(awk "END { print \$3 }" /proc/swaps) * 1024 + 4096)) 0"; swapoff $lv ;;
    esac
done
"""


def packed(image: LiveImage, lab: Lab, recipe: str, *words: str) -> Inventory:
    """Pack the disks of a recipe as set one; return what is on them."""
    drives = drives_of(recipe, make_disks(image, recipe))
    copies = [Drive(path=drive.path, sector_size=drive.sector_size, temporary=True) for drive in drives]
    report = lab.run(copies, "lvpack.action=backup", "lvpack.name=one", "lvpack.margin=8M", *words)
    assert report.status == "ok", report
    return inventory.take(image, *drives)


def targets_of(lab: Lab, recipe: str, sizes: Sequence[int]) -> list[Drive]:
    paths = [create_disk(lab.folder / f"target{n}-{size}.img", size) for n, size in enumerate(sizes)]
    return drives_of(recipe, paths)


def looked(lab: Lab, drives: Sequence[Drive]) -> dict[str, tuple[int, int]]:
    """Return the size of what each LV holds, by the tools of that, and the groups of an XFS; all are clean."""
    (lab.folder / "look").write_text(LOOK)
    copies = [Drive(path=d.path, sector_size=d.sector_size, temporary=True) for d in drives]
    rows = [line.split() for line in lab.prepare(copies, "sh /host/look").splitlines() if line.startswith("/dev/")]
    return {name.rpartition("-")[2]: (int(size), int(groups)) for name, size, groups in rows}


def sizes_of(found: Inventory) -> dict[str, int]:
    return {lv["lv_name"]: int(lv["lv_size"]) for lv in found.lvs}


def free_in(found: Inventory) -> int:
    return sum(int(pv["vg_free_count"]) for pv in found.pvs)


def test_a_server_has_its_own_sizes_again(image: LiveImage, lab: Lab) -> None:
    before = packed(image, lab, "grow")
    manifest = check.read_manifest(lab.share / "one")
    source, small = manifest.plan.source.disks[0].size, manifest.packed_size
    assert small < source / 2
    had = {old.name: old.content.size for old, _ in manifest.plan.lvs()}
    [groups] = [old.content.groups for old, _ in manifest.plan.lvs() if old.name == "data"]
    between = small + 400 * MIB
    for size in (between, source, 2 * source):
        [target] = targets_of(lab, "grow", [size])
        report = lab.run([target], *RESTORE)
        assert report.status == "ok", report
        alone = [text for text in report.warnings if "XFS on LV data has a single allocation group" in text]
        assert report.warnings == (tuple(alone) if size == between else ()), report
        after, made = inventory.take(image, target), looked(lab, [target])
        assert inventory.differing_files(before, after) == []
        assert after.identities() == before.identities()
        assert "No errors detected" in run(["sfdisk", "--verify", target.path]).stdout
        rows = [(p["start"], p["size"]) for p in after.table["partitions"]]
        if size == between:
            least = {lv.name: lv.extents * 4 * MIB for lv in manifest.packed.vgs[0].lvs}
            assert all(least[name] < count < sizes_of(before)[name] for name, count in sizes_of(after).items())
            assert free_in(after) == 0
            assert made["data"][1] == 1 and alone
            assert rows[2][0] + rows[2][1] == (size - MIB) // 512, "what stands after the PV goes to the end"
            continue
        assert sizes_of(after) == sizes_of(before)
        assert {name: count for name, (count, _) in made.items()} == had
        assert made["data"][1] == groups > 1
        if size == source:
            assert free_in(after) == free_in(before)
            assert after.table["partitions"] == before.table["partitions"]
        else:
            assert free_in(after) == free_in(before) + source // (4 * MIB)
            assert rows[2][0] == before.table["partitions"][2]["start"] + source // 512


def test_rules_are_planned_and_refused_before_anything_is_written(image: LiveImage, lab: Lab) -> None:
    packed(image, lab, "faults")
    size = parse_size(str(recipe_of("faults")["size"]))
    [target] = targets_of(lab, "faults", [size])
    untouched = fingerprint(target.path)
    for rules, words in (
        ("root=5G", ("more than is packed",)),
        ("root=60%,swap=41%", ("101%",)),
        ("nowhere=max", ("no LV 'nowhere'",)),
        ("root=8M", ("is packed into",)),
    ):
        assert_ended(lab.run([target], *RESTORE, f"lvpack.grow={rules}"), "refused", *words)
    rule = "lvpack.grow=swap=packed,root=max"
    report = lab.run([target], "lvpack.action=plan", "lvpack.source=one", rule)
    assert report.status == "ok" and "can be restored to /dev/vda" in report.message, report
    console = (lab.folder / "console.log").read_text(errors="replace")
    assert "all that is left: max" in console and "by the rule swap=packed" in console
    assert fingerprint(target.path) == untouched
    said = CliRunner().invoke(main, ["plan", str(lab.share / "one"), "--target-size", str(size), "-a", rule])
    assert said.exit_code == 0 and "all that is left: max" in said.output, said.output
    report = lab.run([target], *RESTORE, rule)
    assert report.status == "ok", report
    after = inventory.take(image, target)
    assert free_in(after) == 0 and sizes_of(after)["swap"] == 4 * MIB


def test_a_cut_leaves_no_disk_that_looks_good(image: LiveImage, lab: Lab) -> None:
    before = packed(image, lab, "faults")
    size = 2 * parse_size(str(recipe_of("faults")["size"]))
    [target] = targets_of(lab, "faults", [size])
    for when in ("== grow", "grow LV root from"):  # the second one cuts the restore that takes the disk again
        with served_folder(SharedFolder(folder=lab.share)) as served:
            machine = live(image, shared_arguments(RESTORE, served), drives=(target,))
            with started(machine, accelerator(image), lab.folder / "console.log") as console:
                console.expect(when, 600)
                console.kill()
        with target.path.open("rb") as file:
            head = file.read(MIB)
            assert b"image set one" in head[:512] and mark.stands_alone(head), when
        with pytest.raises(ToolFailed, match="does not contain a recognized partition table"):
            run(["sfdisk", "--json", target.path])
    report = lab.run([target], *RESTORE)
    assert report.status == "ok", report
    after = inventory.take(image, target)
    assert inventory.differing_files(before, after) == []
    assert sizes_of(after) == sizes_of(before)


@full
def test_any_write_may_be_the_last(image: LiveImage, lab: Lab) -> None:
    """After each there is no partition table, or all that belongs to it; the same restore goes on from some of them."""
    before = packed(image, lab, "faults")
    [target] = targets_of(lab, "faults", [2 * parse_size(str(recipe_of("faults")["size"]))])
    # Something that boots, or is taken for a disk, is there before.
    run(["sfdisk", "--quiet", target.path], input="label: gpt\nsize=100M\n")
    pristine, file = sparse_copy(target.path, lab.folder / "pristine.img"), lab.folder / "log"
    file.touch()
    report = lab.run([Drive(path=target.path, log=file)], *RESTORE, "lvpack.overwrite=yes")
    assert report.status == "ok", report
    log = WriteLog(file)
    other = next(number for number, entry in enumerate(log.entries) if entry.size and entry.at >= MIB)
    assert any(entry.flush for entry in log.entries[:other]), "the mark is on the medium before all else"
    begin = bytearray(MIB)
    for entry in log.entries[:other]:
        begin[entry.at : entry.at + entry.size] = log.data(entry)
    head = bytearray(begin)
    assert mark.stands_alone(bytes(begin)) and begin[:512].strip(b"\0"), "nothing but the mark"
    for table, entry in enumerate(log.entries[other:], other):
        part = log.data(entry)[: max(0, MIB - entry.at)]
        head[entry.at : entry.at + len(part)] = part
        # GPT counts with a first sector that says so (UEFI 2.10, 5.2.3).
        if head[510:512] == b"\x55\xaa":
            break
        begin[:512] = head[:512]
        assert mark.stands_alone(bytes(begin)), f"after entry {table}"
    else:
        pytest.fail("there is no partition table in the end")
    flushed = max(number for number, entry in enumerate(log.entries[: table + 1]) if entry.flush)
    assert not any(entry.size for entry in log.entries[flushed + 1 : table]), "all else is on the medium before"
    assert not any(entry.size for entry in log.entries[table + 1 :]), "nothing comes after"
    dice = Random(seed := SystemRandom().randrange(1 << 32))
    for count in dice.sample(range(other, table), 3):
        print(f"seed {seed}: after {count} of {len(log.entries)} entries")
        left = log.replayed(pristine, count, lab.folder / "left.img")
        report = lab.run([Drive(path=left)], *RESTORE)
        assert report.status == "ok", report
        after = inventory.take(image, Drive(path=left))
        assert inventory.differing_files(before, after) == []
        assert sizes_of(after) == sizes_of(before)


@full
@pytest.mark.parametrize(
    "recipe", ["gpt", "logical", "logicals", "whole", "areas", "odd", "sectors", "features", "mixed", "three"]
)
@pytest.mark.parametrize("factor", [1, 2])
def test_each_layout_has_its_sizes_again(image: LiveImage, lab: Lab, recipe: str, factor: int) -> None:
    before = packed(image, lab, recipe)
    manifest = check.read_manifest(lab.share / "one")
    # PVs of other disks were collapsed into the first.
    whole = sum(disk.size for disk in manifest.plan.source.disks)
    [target] = targets_of(lab, recipe, [whole * factor])
    report = lab.run([target], *RESTORE)
    assert report.status == "ok", report
    after = inventory.take(image, target)
    assert inventory.differing_files(before, after) == []
    kept = {name: value for name, value in after.identities().items() if not name.startswith("PV ")}
    assert kept.items() <= before.identities().items()
    assert sizes_of(after) == sizes_of(before)
    looked(lab, [target])


@full
def test_each_of_several_disks_grows(image: LiveImage, lab: Lab) -> None:
    before = packed(image, lab, "mixed", "lvpack.collapse=no")
    manifest = check.read_manifest(lab.share / "one")
    sizes = [disk.size for disk in manifest.plan.source.disks]
    paths = [drive.path for drive in targets_of(lab, "mixed", [size + 64 * MIB for size in sizes])]
    drives = [Drive(path=path, serial=f"T{n}") for n, path in enumerate(paths)]
    report = lab.run(drives, *RESTORE, "lvpack.disk=T0", "lvpack.disk=T1")
    assert report.status == "ok", report
    after = inventory.take(image, *drives)
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert sizes_of(after) == sizes_of(before)


@full
@pytest.mark.parametrize("recipe", ["server", "noboot", "xfs"])
def test_a_server_that_has_grown_boots(image: LiveImage, lab: Lab, recipe: str) -> None:
    source = sparse_copy(make_sample(image, recipe), lab.folder / "source.img")
    report = lab.run([Drive(path=source)], "lvpack.action=backup", "lvpack.name=one", memory=3072)
    assert report.status == "ok", report
    target = create_disk(lab.folder / "target.img", source.stat().st_size + 777 * MIB)
    report = lab.run([Drive(path=target)], *RESTORE)
    assert report.status == "ok", report
    before, after = (inventory.take(image, Drive(path=path)) for path in (source, target))
    assert sizes_of(after) == sizes_of(before)
    assert after.identities() == before.identities()
    boot_to_login(image, target, lab.folder / "boot.log")
