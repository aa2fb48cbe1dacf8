"""In-place mode's journal on the share: clones of one disk at the same time, and a journal that is not what it was."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import Lab, assert_ended, fingerprint
from lvpack_agent.journal import PROGRESS, RECORD
from lvpack_agent.processes import run
from lvpack_agent.report import RESULT_MARK, Report
from lvpack_agent.sizes import MIB
from lvpack_agent.steps import MERGE_TAG
from lvpack_builder import inventory
from lvpack_builder.build import LiveImage
from lvpack_builder.console import Console, read_result, running
from lvpack_builder.demo import sparse_copy
from lvpack_builder.inventory import Inventory
from lvpack_builder.nfs import Share, nfs_share
from lvpack_builder.qemu import Drive, accelerator, live
from lvpack_builder.runs import shared_arguments
from lvpack_builder.sample.server import make_sample

pytestmark = [pytest.mark.core, pytest.mark.timeout(1800)]

IN_PLACE = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.margin=8M")
RESULT_SECONDS = 900.0


@pytest.fixture(scope="module")
def small(image: LiveImage) -> Path:
    return make_sample(image, "logical")


@pytest.fixture(scope="module")
def small_before(image: LiveImage, small: Path) -> Inventory:
    return inventory.take(image, Drive(path=small))


def assert_whole(lab: Lab, disk: Path, before: Inventory) -> None:
    after = inventory.take(lab.image, Drive(path=disk))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()


def run_on(lab: Lab, share: Share, disk: Path, *arguments: str) -> Report:
    machine = live(lab.image, shared_arguments(arguments, share), drives=(Drive(path=disk),))
    with running(machine, accelerator(lab.image), lab.folder / f"{disk.stem}.log") as console:
        return console.result(RESULT_SECONDS)


def in_shell(console: Console, share: Share, disk_options: Sequence[str]) -> Report:
    """Run the agent once more in the shell of a guest whose run has failed."""
    words = " ".join(shared_arguments(disk_options, share))
    answer = console.shell(f"python3 -m lvpack_agent --cmdline '{words}'", RESULT_SECONDS)
    [line] = [line for line in answer.output.splitlines() if RESULT_MARK in line]
    return read_result(line.partition(RESULT_MARK)[2])


def wait_for_merge(disk: Path) -> None:
    """Return when the VG on a disk says that a merge has begun."""
    pv = json.loads(run(["sfdisk", "--json", disk]).stdout)["partitiontable"]["partitions"][-1]
    deadline = time.monotonic() + 60
    with disk.open("rb") as file:
        while time.monotonic() < deadline:
            if MERGE_TAG.encode() in os.pread(file.fileno(), MIB, pv["start"] * 512):
                return
            time.sleep(0.05)
    raise AssertionError("no merge begins")


def test_a_journal_that_is_older_than_the_disk(lab: Lab, small: Path, small_before: Inventory) -> None:
    """As of a server that lost power with an async export: what it gives back is refused, and nothing is lost."""
    disk = sparse_copy(small, lab.folder / "disk.img")
    words = (*IN_PLACE, "lvpack.name=one", "lvpack.dump=no", "lvpack.onerror=shell")
    older, newest = lab.folder / "older", lab.folder / "newest"
    with nfs_share(lab.share) as share:
        machine = live(lab.image, shared_arguments(words, share), drives=(Drive(path=disk),))
        with running(machine, accelerator(lab.image), lab.folder / "first.log") as console:
            console.expect("-- mark the VG", RESULT_SECONDS)
            [journal] = lab.share.iterdir()
            shutil.copytree(journal, older)
            console.expect("-- merge LV", RESULT_SECONDS)
            wait_for_merge(disk)
            console.kill()
        cut = fingerprint(disk)
        shutil.copytree(journal, newest)
        assert json.loads((newest / PROGRESS).read_text())["merge"]

        def put_back(folder: Path) -> None:
            shutil.rmtree(journal)
            shutil.copytree(folder, journal)

        put_back(older)
        with running(machine, accelerator(lab.image), lab.folder / "second.log") as console:
            report = console.result(RESULT_SECONDS)
            assert_ended(report, "failed", "is older than the disk")
            assert fingerprint(disk) == cut
            put_back(newest)
            (journal / PROGRESS).unlink()
            report = in_shell(console, share, words)
            assert_ended(report, "failed", "progress.json is missing")
            assert list(journal.glob("store-*")) and fingerprint(disk) == cut
            put_back(newest)
            data = json.loads((journal / RECORD).read_text())
            (journal / RECORD).write_text(json.dumps({**data, "steps": data["steps"][1:]}))
            report = in_shell(console, share, words)
            assert_ended(report, "refused", "steps are not those")
            assert fingerprint(disk) == cut
            put_back(newest)
            report = in_shell(console, share, words)
    assert report.status == "ok", report
    assert_whole(lab, disk, small_before)


def test_clones_on_one_share_at_the_same_time(lab: Lab, small: Path, small_before: Inventory) -> None:
    """Nothing tells the two machines apart: no serial number, no UUID. One of them works, the other is refused."""
    disks = [sparse_copy(small, lab.folder / f"clone-{n}.img") for n in range(2)]
    pristine = fingerprint(small)
    with nfs_share(lab.share) as share, ThreadPoolExecutor() as pool:
        started = [pool.submit(run_on, lab, share, d, *IN_PLACE, f"lvpack.name={d.stem}") for d in disks]
        reports = [future.result() for future in started]
        for report, disk in zip(reports, disks, strict=True):
            if report.status != "ok":
                assert_ended(report, "refused", "another machine")
                assert fingerprint(disk) == pristine
        assert "ok" in [report.status for report in reports], reports
        for disk in [d for report, d in zip(reports, disks, strict=True) if report.status != "ok"]:
            report = run_on(lab, share, disk, *IN_PLACE, f"lvpack.name={disk.stem}")
            assert report.status == "ok", report
    for disk in disks:
        assert_whole(lab, disk, small_before)
        assert (lab.share / disk.stem / "manifest.json").exists()
