"""Machines that nobody looks at: a watchdog, the power button, and SIGTERM."""

import shlex
from pathlib import Path

import pytest

from lab.runs import Lab, assert_ended, fingerprint
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import running
from lvpack_builder.lab.monitor import ask
from lvpack_builder.lab.nfs import nfs_share
from lvpack_builder.lab.proxy import Proxy
from lvpack_builder.lab.qemu import Drive, accelerator, live

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

GUARD = """\
import sys, time
from lvpack_agent.machine.watchdog import Guards
guards = Guards(print)
guards.arm()
if sys.argv[1:]:
    time.sleep(1000)
guards.disarm()
"""
STATE = "cat /sys/class/watchdog/watchdog0/state"


def test_a_watchdog_is_fed_and_stopped_and_starts_a_machine_that_hangs(lab: Lab) -> None:
    machine = live(lab.image, [helper.SHELL], devices=("i6300esb",))
    with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
        helper.shell_ready(console)
        script = f"python3 -c {shlex.quote(GUARD)}"
        answer = console.shell(f"{script}; {STATE}; cat /proc/sys/kernel/panic", 60)
        assert "starts this machine again if it hangs" in answer.output, answer.output
        assert answer.output.split()[-2:] == ["inactive", "0"], answer.output
        answer = console.shell(f"{script} on > /dev/null 2>&1 & sleep 100; {STATE}", 200)
        assert answer.output.split()[-1:] == ["active"], answer.output
        console.send("kill -STOP $(pgrep -f watchdog)")
        console.wait(150)  # QEMU ends where a machine would start again


@pytest.mark.parametrize("how", ["button", "button while the share is out", "signal"])
def test_a_run_that_is_told_to_end_ends_as_by_an_error(
    lab: Lab, source: Path, source_fingerprint: str, how: str
) -> None:
    with nfs_share(lab.share) as share, Proxy(share.port) as proxy:
        url = share.url.replace(str(share.port), str(proxy.port))
        monitor = lab.folder / "monitor"
        words = ["lvpack.action=backup", "lvpack.name=one", f"lvpack.target={url}", "lvpack.onerror=poweroff"]
        booted = words if how != "signal" else [helper.SHELL]
        machine = live(lab.image, booted, drives=(Drive(path=source),), monitor=monitor, devices=("i6300esb",))
        with running(machine, accelerator(lab.image), lab.folder / "console.log") as console:
            if how == "signal":
                helper.shell_ready(console)
                console.send(f"python3 -m lvpack_agent --cmdline {shlex.quote(' '.join(words))} > /dev/null 2>&1 &")
            else:
                console.expect("watchdog: i6300ESB timer starts this machine again", 300)
            console.expect("== dump", 600)
            if "out" in how:
                proxy.stall()
                console.expect("does not answer; the run waits", 60)
            if how == "signal":
                console.send("pkill -TERM -f 'lvpack_agent --cmdline'")
            else:
                ask(monitor, "system_powerdown")
            report = console.result(120)
            if how == "button while the share is out":
                assert_ended(report, "failed", "cannot reach share")
            else:
                assert_ended(report, "failed", "cannot finish backup", "told to end")
                assert [path.name for path in lab.share.iterdir()] == ["one.failed.log"]
            if how == "signal":
                answer = console.shell("dmsetup ls; grep -c lvpack/share /proc/mounts", 60)
                assert answer.output.split()[-1] == "0" and "lvpack-" not in answer.output, answer.output
            else:
                console.wait(120)
    assert fingerprint(source) == source_fingerprint
