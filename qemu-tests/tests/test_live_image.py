"""The live image by itself: it boots, touches nothing, speaks on every console, and always says how it ended."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from lab.runs import Lab, fingerprint, start_agent
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import running
from lvpack_builder.lab.demo import sparse_copy
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live
from lvpack_builder.lab.sample.server import make_sample

pytestmark = pytest.mark.timeout(1800)

AGENT = "/usr/lib/python3/dist-packages/lvpack_agent"


def test_nothing_happens_by_itself_and_then_every_console_hears_each_run(image: LiveImage, lab: Lab) -> None:
    """Disks stay as they are until there is something to do; an agent that cannot say how it ended is spoken for."""
    disk = sparse_copy(make_sample(image, "logical"), lab.folder / "disk.img")
    swap = create_disk(lab.folder / "swap.img", 64 * MIB)
    run(["mkswap", swap])
    before = fingerprint(disk)
    second = lab.folder / "second.log"
    with nfs_share(lab.share) as share:
        # gzip, so that the dump takes long enough to speak of.
        config = f"lvpack.target = {share.url}\nlvpack.name = small\nlvpack.compress = gzip:9\n"
        (lab.share / "run.conf").write_text(config)
        consoles = ("console=ttyS0,115200", "console=ttyS1,115200")
        drives = (Drive(path=disk), Drive(path=swap))
        machine = live(image, [*consoles, helper.SHELL], drives=drives, second_console=second)
        with running(machine, accelerator(image), lab.folder / "console.log") as console:
            helper.shell_ready(console)
            assert "vda5" in console.shell("udevadm settle; ls /dev", 60).output, "the kernel has seen the disk"
            assert console.shell("dmsetup ls", 30).output.strip() == "No devices found"
            assert "swap" in console.shell("blkid -p /dev/vdb", 30).output
            assert len(console.shell("cat /proc/swaps", 30).output.splitlines()) == 1
            assert "/dev/vd" not in console.shell("cat /proc/mounts", 30).output
            assert "md" not in console.shell("ls /sys/block", 30).output
            assert fingerprint(disk) == before
            words = (*consoles, f"lvpack.config={share.url}/run.conf", "lvpack.after=shell")
            start_agent(console, replace(machine, arguments=words), accelerator(image))
            report = console.result(600)
            # Last, for each agent that ends leaves one more shell to read what is typed.
            console.shell("stty -echo", 60)
            console.send(f"mv {AGENT} /run/agent; setsid /usr/lib/lvpack/start-agent &")
            died = console.result(60)
            assert died.status == "failed" and "ended with 1 and could not say why" in died.message, died
            console.send(f"mv /run/agent {AGENT}; pkill -9 -f lvpack_agent")
            died = console.result(60)
            assert died.status == "failed" and "SIGKILL" in died.message, died
    assert report.status == "ok", report
    assert fingerprint(disk) == before
    assert report.line() in second.read_text()
    log = (lab.share / "small/agent.log").read_text()
    times = [float(t) for t in re.findall(r"^\[ *([0-9.]+)\]", log, re.MULTILINE)]
    assert max(b - a for a, b in pairwise(times)) <= 5, log
    assert len(re.findall(r"^dump: .* of .*/s, .* left", second.read_text(), re.MULTILINE)) > 2
