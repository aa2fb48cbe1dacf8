"""Guests that were saved at their shell, so that others go on from there instead of booting: files in the cache."""

import hashlib
import os
import shlex
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.monitor import ask
from lvpack_builder.lab.qemu import Drive, Machine, node
from lvpack_builder.paths import cache_dir

# So many files stay, the last ones used: one for each image and kind of machine, 300 MB each.
KEPT = 6
SAVE_SECONDS = 120.0
RESUME_SECONDS = 180.0
POLL_SECONDS = 0.2
# What most guests need of the kernel: 4 s of an emulated processor that each would spend anew.
LOADED = "modprobe -a virtio_blk 9pnet_virtio 9p nfsv4 ext4 xfs vfat && udevadm settle"
# A PCI bus has 32 slots, and board, network card, folder and port take some.
MOST_DRIVES = 25


def fits(machine: Machine, accelerator: str) -> bool:
    """Tell whether a machine that boots to its shell may go on from a saved guest instead.

    It may if it is emulated, has a BIOS and is given its kernel: KVM and UEFI were not tried.
    """
    usual = Machine(
        drives=machine.drives,
        memory=machine.memory,
        cpus=machine.cpus,
        kernel=machine.kernel,
        initrd=machine.initrd,
        arguments=machine.arguments,
        folders=machine.folders,
        network=machine.network,
        reports=machine.reports,
    )
    emulated = accelerator.startswith("tcg") and machine.kernel and machine.initrd
    return bool(emulated and machine == usual and len(machine.drives) <= MOST_DRIVES)


def place(machine: Machine, accelerator: str) -> Path:
    """Return where the guest of such a machine is saved: named by kernel, initrd, QEMU and its command line."""
    assert machine.kernel and machine.initrd
    folders = tuple((tag, Path(tag)) for tag, _ in machine.folders)
    same = replace(machine, drives=(), kernel=Path("kernel"), initrd=Path("initrd"), folders=folders, forks=True)
    command = same.command(accelerator)
    parts = [*command, run([command[0], "--version"]).stdout, LOADED]
    parts += [_digest(p, p.stat().st_mtime_ns) for p in (machine.kernel, machine.initrd)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache_dir() / f"guest-{key}"


@cache
def _digest(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(monitor: Path, path: Path) -> None:
    """Save the guest of a machine, which stands still from then on; forget guests that were not used for long.

    Raises Failed if it cannot be saved.
    """
    partial = path.with_suffix(".partial")
    ask(monitor, "migrate", uri=f"exec:cat > {shlex.quote(str(partial))}")
    deadline = time.monotonic() + SAVE_SECONDS
    while (found := ask(monitor, "query-migrate"))["status"] != "completed":
        if found["status"] == "failed" or time.monotonic() > deadline:
            raise Failed(f"cannot save the guest: {found.get('error-desc', found['status'])}")
        time.sleep(POLL_SECONDS)
    partial.rename(path)
    guests = sorted(cache_dir().glob("guest-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in guests[KEPT:]:
        old.unlink()


def used(path: Path) -> None:
    """Note that a saved guest was used, so that it stays."""
    os.utime(path)


def go_on(console: Console, drives: tuple[Drive, ...]) -> None:
    """Wait until a saved guest goes on, set its clock, and let it find its drives. Raises Failed if it does not."""
    deadline = time.monotonic() + RESUME_SECONDS
    # What is typed before the guest goes on is lost, so it is asked for its prompt until that comes.
    while console.watch("# ", POLL_SECONDS) is None:
        if time.monotonic() > deadline:
            raise Failed(f"cannot go on from a saved guest: it does not answer in {RESUME_SECONDS:.0f} s")
        console.send("")
    found = console.shell(
        f"date -s @{time.time():.3f} > /dev/null; echo 1 > /sys/bus/pci/rescan; udevadm settle; "
        "for d in /sys/devices/pci*/*/virtio*/block/*; do [ ! -e $d ] || echo ${d##*/}; done",
        RESUME_SECONDS,
    )
    wanted = [node(number).removeprefix("/dev/") for number in range(len(drives))]
    if found.output.split() != wanted:
        raise Failed(f"cannot go on from a saved guest: it should find drives {wanted}, and says {found.output!r}")
