"""A share that does not answer for a while is waited for; one that stays away ends the run, cleanly."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from lab.runs import Lab, assert_ended
from lvpack_agent.report import Report
from lvpack_agent.sizes import MIB
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.nfs import HOST_FROM_GUEST, PSEUDO, nfs_share
from lvpack_builder.lab.proxy import Proxy
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live

pytestmark = [pytest.mark.saved_guest, pytest.mark.timeout(1800)]

full = pytest.mark.full
# A VG with room to shrink, compact and truncate; what its LV holds does not compress.
MAKE = (
    "vgcreate -q small /dev/vda && lvcreate -q -y -n hole -L 8m small && lvcreate -q -y -n data -L {size}m small && "
    "lvremove -q -y small/hole && mkfs.ext4 -q /dev/small/data && mkdir /run/at && mount /dev/small/data /run/at && "
    "head -c {filled}M /dev/urandom > /run/at/first && head -c {filled}M /dev/urandom > /run/at/file && "
    "rm /run/at/first && sha256sum /run/at/file && umount /run/at && vgchange -q -a n small"
)


@dataclass(kw_only=True)
class Failing:
    """A guest with a small VG, and a share that can be made to fail."""

    console: Console
    proxy: Proxy
    lab: Lab
    servers: ExitStack
    nfs: int
    sum: str

    def begin(self, *arguments: str) -> None:
        """Start a run in the guest; SHARE in its words is the share's URL."""
        words = " ".join(arguments).replace("SHARE", f"nfs://{HOST_FROM_GUEST}:{self.proxy.port}{PSEUDO}")
        self.console.send(f"python3 -m lvpack_agent --cmdline {shlex.quote(words)} > /dev/null 2>&1")

    def result(self) -> Report:
        return self.console.result(300)

    def interrupt(self, how: str) -> None:
        """Let the share fail until the run says so, and come back; restart: by a server that knows no client."""
        if how == "stall":
            self.proxy.stall()
        else:
            self.proxy.drop()
        self.console.expect(OUT, 90)
        if how == "restart":
            self.servers.close()
            self.proxy.resume(self.servers.enter_context(nfs_share(self.lab.share, version=self.nfs)).port)
        else:
            self.proxy.resume()
        self.console.expect(BACK, 330)

    def compare(self) -> None:
        """Raise unless the file is what it was: on the disk that was packed in place, or restored."""
        device = "/dev/vdb" if self.console.shell("vgs --devices /dev/vdb small", 60).status == 0 else "/dev/vda"
        answer = self.console.shell(
            f"vgchange -q -a y --devices {device} small && mount -o ro /dev/small/data /run/at && "
            "sha256sum /run/at/file && umount /run/at && vgchange -q -a n small",
            120,
        )
        assert answer.status == 0 and self.sum in answer.output, answer.output


@contextmanager
def failing(lab: Lab, size: int, filled: int, nfs: int = 4) -> Iterator[Failing]:
    """Yield a guest with a VG of size MiB, and a target disk that is empty."""
    disks = [create_disk(lab.folder / f"{name}.img", (size + 32) * MIB) for name in ("source", "target")]
    with ExitStack() as servers:
        port = servers.enter_context(nfs_share(lab.share, version=nfs)).port
        machine = live(lab.image, [helper.SHELL], drives=tuple(Drive(path=disk) for disk in disks))
        with (
            Proxy(port) as proxy,
            helper.at_shell(machine, accelerator(lab.image), lab.folder / "console.log") as console,
        ):
            made = console.shell(MAKE.format(size=size, filled=filled), 120)
            assert made.status == 0, made.output
            [*sums] = re.findall("[0-9a-f]{64}", made.output)
            yield Failing(console=console, proxy=proxy, lab=lab, servers=servers, nfs=nfs, sum=sums[0])


BACKUP = ("lvpack.action=backup", "lvpack.target=SHARE", "lvpack.name=one")
RESTORE = ("lvpack.action=restore", "lvpack.source=SHARE/one", "lvpack.disk=/dev/vdb")
OUT, BACK = "does not answer; the run waits for it, ", "answers again after"


def test_a_share_that_stalls_is_waited_for_and_one_that_stays_away_ends_the_run(lab: Lab) -> None:
    with failing(lab, 32, 4) as run:
        run.begin(*BACKUP, "lvpack.readback=no", "lvpack.compress=none")
        run.console.expect("== dump", 120)
        run.proxy.stall()
        run.console.expect(rf"{OUT}9:\d\d left of lvpack.patience", 60)
        run.proxy.resume()
        run.console.expect(BACK, 90)
        run.console.expect("== read back", 90)
        assert run.result().status == "ok"
        assert (lab.share / "one/manifest.json").exists()

        run.begin("lvpack.action=verify", "lvpack.source=SHARE/one", "lvpack.patience=0")
        run.console.expect("mounted by", 60)
        run.proxy.drop()
        report = run.result()
        assert_ended(report, "failed", "cannot reach share", "it did not answer for 1")
        assert run.console.shell("grep lvpack/share /proc/mounts", 30).output == ""


@full
@pytest.mark.parametrize("nfs", [4, 3])
@pytest.mark.parametrize("how", ["stall", "drop", "restart"])
def test_backup_and_restore_go_on_when_the_server_is_back(lab: Lab, how: str, nfs: int) -> None:
    with failing(lab, 96, 30, nfs) as run:
        run.begin(*BACKUP, "lvpack.scratch=share", "lvpack.compress=none")
        for phase in ("shrink", "dump", "read back"):
            run.console.expect(f"== {phase}", 180)
            run.interrupt(how)
        report = run.result()
        assert report.status == "ok", report
        assert "image set one" in report.message
        run.begin(*RESTORE)
        for phase in ("write", "verify"):
            run.console.expect(f"== {phase}", 180)
            if phase == "write":
                run.interrupt(how)
        assert run.result().status == "ok"
        run.compare()


@full
@pytest.mark.parametrize("how", ["stall", "restart"])
@pytest.mark.parametrize("step", ["-- resize", "-- merge", "-- move", "== dump"])
def test_in_place_mode_goes_on_when_the_server_is_back(lab: Lab, how: str, step: str) -> None:
    with failing(lab, 96, 30) as run:
        run.begin(*BACKUP, "lvpack.mode=inplace", "lvpack.disk=/dev/vda")
        run.console.expect(step, 240)
        run.interrupt(how)
        report = run.result()
        assert report.status == "ok", report
        run.compare()


@full
def test_in_place_mode_that_was_given_up_goes_on_at_the_next_boot(lab: Lab) -> None:
    with failing(lab, 96, 30) as run:
        run.begin(*BACKUP, "lvpack.mode=inplace", "lvpack.disk=/dev/vda", "lvpack.patience=20s")
        run.console.expect("-- resize", 240)
        run.proxy.stall()
        report = run.result()
        assert_ended(
            report, "failed", "cannot reach share", "did not answer for 2", "the next boot with the same options"
        )
        run.proxy.resume()
        run.begin(*BACKUP, "lvpack.mode=inplace", "lvpack.disk=/dev/vda")
        report = run.result()
        assert report.status == "ok", report
        run.compare()


@full
def test_a_restore_whose_share_stays_away_leaves_no_disk_that_looks_whole(lab: Lab) -> None:
    with failing(lab, 96, 30) as run:
        run.begin(*BACKUP)
        assert run.result().status == "ok"
        run.begin(*RESTORE, "lvpack.patience=20s")
        run.console.expect("== write", 180)
        run.proxy.stall()
        report = run.result()
        assert_ended(report, "failed", "cannot reach share", "target disk '/dev/vdb' is unusable")
        assert run.console.shell("wipefs /dev/vdb", 60).output == ""
