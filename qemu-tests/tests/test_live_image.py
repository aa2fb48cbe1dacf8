"""The live image by itself: it boots, touches nothing, speaks on every console, and always says how it ended."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from lab.runs import Lab, fingerprint
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import running
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import make_sample

pytestmark = [pytest.mark.core, pytest.mark.timeout(1800)]

AGENT = "/usr/lib/python3/dist-packages/lvpack_agent"


@pytest.fixture(scope="module")
def gpt(image: LiveImage) -> Path:
    return make_sample(image, "gpt")


def test_nothing_happens_by_itself_and_an_agent_that_ends_otherwise_says_so(
    image: LiveImage, lab: Lab, gpt: Path
) -> None:
    disk, swap = sparse_copy(gpt, lab.folder / "disk.img"), create_disk(lab.folder / "swap.img", 64 * MIB)
    run(["mkswap", swap])
    before = fingerprint(disk)
    machine = live(image, ["lvpack.action=shell"], drives=(Drive(path=disk), Drive(path=swap)))
    with running(machine, accelerator(image), lab.folder / "console.log") as console:
        helper.shell_ready(console)
        assert "vda5" in console.shell("udevadm settle; ls /dev", 60).output, "the kernel has seen the disk"
        assert console.shell("dmsetup ls", 30).output.strip() == "No devices found"
        assert "swap" in console.shell("blkid -p /dev/vdb", 30).output
        assert len(console.shell("cat /proc/swaps", 30).output.splitlines()) == 1
        assert "/dev/vd" not in console.shell("cat /proc/mounts", 30).output
        assert "md" not in console.shell("ls /sys/block", 30).output
        console.send(f"mv {AGENT} /run/agent; setsid /usr/lib/lvpack/start-agent &")
        report = console.result(60)
        assert report.status == "failed" and "ended with 1 and could not say why" in report.message, report
        console.send(f"mv /run/agent {AGENT}; pkill -9 -f lvpack_agent")
        report = console.result(60)
        assert report.status == "failed" and "SIGKILL" in report.message, report
    assert fingerprint(disk) == before


def test_every_console_hears_the_run(image: LiveImage, lab: Lab, gpt: Path) -> None:
    second = lab.folder / "second.log"
    with nfs_share(lab.share) as share:
        # gzip, so that the dump takes long enough to speak of.
        config = f"lvpack.target = {share.url}\nlvpack.name = gpt\nlvpack.compress = gzip:9\n"
        (lab.share / "run.conf").write_text(config)
        words = ["console=ttyS0,115200", "console=ttyS1,115200", f"lvpack.config={share.url}/run.conf"]
        machine = live(image, words, drives=(Drive(path=gpt, temporary=True),), second_console=second)
        with running(machine, accelerator(image), lab.folder / "console.log") as console:
            report = console.result(600)
            console.wait(120)
    assert report.status == "ok", report
    assert report.line() in second.read_text()
    log = (lab.share / "gpt/agent.log").read_text()
    times = [float(t) for t in re.findall(r"^\[ *([0-9.]+)\]", log, re.MULTILINE)]
    assert max(b - a for a, b in pairwise(times)) <= 5, log
    assert len(re.findall(r"^dump: .* of .*/s, .* left", second.read_text(), re.MULTILINE)) > 2
