"""In-place mode's journal on the share: clones of one disk at the same time, and a journal that is not what it was."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab.runs import Lab, assert_ended, fingerprint, give_back_claims, result_in, started
from lvpack_agent.backup.journal_record import PROGRESS, RECORD
from lvpack_agent.report import UNKNOWN, Report
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import inventory
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.inventory import Inventory
from lvpack_builder.lab.nfs import Share, nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, live
from lvpack_builder.lab.runs import shared_arguments
from lvpack_builder.lab.sample.server import make_sample

pytestmark = pytest.mark.timeout(1800)

IN_PLACE = ("lvpack.action=backup", "lvpack.mode=inplace", "lvpack.margin=8M")
RESULT_SECONDS = 900.0
# A merge has begun to write then, and is not at its end.
MERGING_SECONDS = 0.5


@pytest.fixture(scope="module")
def small(image: LiveImage) -> Path:
    return make_sample(image, "logical")


@pytest.fixture(scope="module")
def small_before(content_of: Callable[[str], Inventory]) -> Inventory:
    return content_of("logical")


def assert_whole(lab: Lab, disk: Path, before: Inventory) -> None:
    after = inventory.take(lab.image, Drive(path=disk))
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()


def run_on(lab: Lab, share: Share, disk: Path, *arguments: str) -> Report:
    machine = live(lab.image, shared_arguments(arguments, share), drives=(Drive(path=disk),))
    with started(machine, accelerator(lab.image), lab.folder / f"{disk.stem}.log") as console:
        return console.result(RESULT_SECONDS)


def in_shell(console: Console, share: Share, disk_options: Sequence[str]) -> Report:
    """Run the agent once more in the shell of a guest whose run has failed."""
    words = " ".join(shared_arguments(disk_options, share))
    answer = console.shell(f"python3 -m lvpack_agent --cmdline '{words}'", RESULT_SECONDS)
    return result_in(answer.output)


def test_a_journal_that_is_not_of_the_disk(lab: Lab, small: Path, small_before: Inventory) -> None:
    """As of a server that lost power with an async export, of a clone, of another version: nothing is lost by any."""
    disk, clone = (sparse_copy(small, lab.folder / name) for name in ("disk.img", "clone.img"))
    words = (*IN_PLACE, "lvpack.name=one", "lvpack.dump=no", "lvpack.onerror=shell", "lvpack.disk=/dev/vda")
    on_clone = (*words[:-1], "lvpack.disk=/dev/vdb")
    older, newest = lab.folder / "older", lab.folder / "newest"
    pristine = fingerprint(clone)
    with ExitStack() as served:
        share = served.enter_context(nfs_share(lab.share))
        machine = live(lab.image, shared_arguments(words, share), drives=(Drive(path=disk),))
        with started(machine, accelerator(lab.image), lab.folder / "first.log") as console:
            console.expect("-- mark the VG", RESULT_SECONDS)
            [journal] = lab.share.iterdir()
            shutil.copytree(journal, older)
            console.expect("-- merge LV", RESULT_SECONDS)
            time.sleep(MERGING_SECONDS)
            console.kill()
        cut = fingerprint(disk)
        shutil.copytree(journal, newest)
        # The first run after the cut waits to see that nobody holds the journal; the further ones need not.
        give_back_claims(newest)
        assert json.loads((newest / PROGRESS).read_text())["merge"]["begun"]

        def put_back(folder: Path) -> None:
            # The server knows folders that are gone by what it has in its memory.
            served.close()
            shutil.rmtree(journal)
            shutil.copytree(folder, journal)
            served.enter_context(nfs_share(lab.share, port=share.port))

        put_back(older)
        machine = replace(machine, drives=(Drive(path=disk), Drive(path=clone)))
        with started(machine, accelerator(lab.image), lab.folder / "second.log") as console:
            report = console.result(RESULT_SECONDS)
            assert_ended(report, "failed", "is older than the disk")
            put_back(newest)
            (journal / PROGRESS).unlink()
            report = in_shell(console, share, words)
            assert_ended(report, "failed", "progress.json is missing")
            put_back(newest)
            data = json.loads((journal / RECORD).read_text())
            (journal / RECORD).write_text(json.dumps({**data, "steps": data["steps"][1:]}))
            report = in_shell(console, share, words)
            assert_ended(report, "refused", "its steps are not those")
            put_back(newest)
            report = in_shell(console, share, on_clone)
            assert_ended(report, "failed", "is not as the run", "no tag lvpack-inplace")
            assert list(journal.glob("store-*"))
            assert fingerprint(disk) == cut and fingerprint(clone) == pristine
            report = in_shell(console, share, words)
    assert report.status == "ok", report
    assert_whole(lab, disk, small_before)


def test_clones_on_one_share_at_the_same_time(lab: Lab, small: Path, small_before: Inventory) -> None:
    """Nothing tells the two machines apart: no serial number, no UUID. One of them works, the other is refused."""
    disks = [sparse_copy(small, lab.folder / f"clone-{n}.img") for n in range(2)]
    pristine = fingerprint(small)
    with nfs_share(lab.share) as share, ThreadPoolExecutor() as pool:
        runs = [pool.submit(run_on, lab, share, d, *IN_PLACE, f"lvpack.name={d.stem}") for d in disks]
        reports = [future.result() for future in runs]
        for report, disk in zip(reports, disks, strict=True):
            if report.status != "ok":
                assert_ended(report, "refused", "another machine")
                assert fingerprint(disk) == pristine
        assert "ok" in [report.status for report in reports], reports
        assert all(report.timings.read_back != UNKNOWN for report in reports if report.status == "ok")
        for disk in [d for report, d in zip(reports, disks, strict=True) if report.status != "ok"]:
            report = run_on(lab, share, disk, *IN_PLACE, f"lvpack.name={disk.stem}")
            assert report.status == "ok", report
    for disk in disks:
        assert_whole(lab, disk, small_before)
        assert (lab.share / disk.stem / "manifest.json").exists()
