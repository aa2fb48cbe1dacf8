"""`lvpack demo`: the whole way in one command, with sizes and times.

No unit test: its parts are those of the end-to-end tests; `make demo` runs all of it.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.jsonform import to_json
from lvpack_agent.processes import run
from lvpack_agent.report import Report
from lvpack_agent.sizes import MIB, human, round_up
from lvpack_builder.image.build import LiveImage, build
from lvpack_builder.lab import runs
from lvpack_builder.lab.console import running
from lvpack_builder.lab.qemu import Drive, Machine, accelerator, create_disk
from lvpack_builder.lab.runs import Computer, SharedFolder
from lvpack_builder.lab.sample.server import make_sample
from lvpack_builder.paths import cache_dir, output_dir

LOGIN_SECONDS = 600.0


def boot_to_login(
    image: LiveImage, disk: Path, transcript: Path, *, nvram: Path | None = None, secure: bool = False
) -> None:
    """Boot a disk by its own boot loader, copy-on-write, to its login prompt. Raises Failed if it does not come.

    nvram and secure as for Machine.
    """
    machine = Machine(drives=(Drive(path=disk, temporary=True),), network=False, nvram=nvram, secure=secure)
    with running(machine, accelerator(image), transcript) as console:
        console.expect(r"login: ", LOGIN_SECONDS)


def sparse_copy(source: Path, target: Path) -> Path:
    """Copy a disk image and keep its holes."""
    run(["cp", "--sparse=always", "--reflink=auto", source, target])
    return target


def _run(image: LiveImage, drive: Drive, share: Path, arguments: Sequence[str]) -> Report:
    """Run the live image with a disk and a share. Raises Failed unless it ends well."""
    computer = Computer(drives=[drive], cpus=2)
    report = runs.run_image(image, computer, arguments, share=SharedFolder(folder=share), echo=True)
    if report.status != "ok":
        raise Failed(f"cannot finish the demo: {report.action} {report.status}: {report.message}", hint=report.hint)
    return report


def demo(say: Callable[[str], None]) -> None:
    """Build, make the sample server, pack it, restore it to a smaller disk, boot that; print sizes and times."""
    times: dict[str, float] = {}

    def step(title: str) -> None:
        times[title] = time.monotonic()
        say(f"--- {title}")

    step("build the live image")
    image = build(output_dir())
    step("make the sample server")
    pristine = make_sample(image)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=cache_dir()) as scratch:
        folder = Path(scratch)
        share = folder / "share"
        share.mkdir()
        step("pack it to an NFS share")
        source = runs.drive(pristine, temporary=True)
        arguments = ["lvpack.action=backup", "lvpack.name=demo"]
        packed = _run(image, source, share, arguments)
        size = round_up(packed.sizes.packed_disk, MIB) + 64 * MIB
        target = create_disk(folder / "target.img", size)
        step(f"restore it to an empty disk of {human(size)}")
        arguments = ["lvpack.action=restore", "lvpack.source=demo"]
        restored = _run(image, runs.drive(target), share, arguments)
        step("boot the restored disk to its login prompt")
        boot_to_login(image, target, folder / "boot.log")
        times["end"] = time.monotonic()
        say("")
        say(f"source disk    {human(packed.sizes.source_disk):>10}")
        say(f"packed disk    {human(packed.sizes.packed_disk):>10}")
        say(f"stored image   {human(packed.sizes.image):>10}")
        say(f"restored to    {human(size):>10}, booted to its login prompt")
        marks = list(times.items())
        for (title, begun), (_, ended) in pairwise(marks):
            say(f"{ended - begun:8.1f} s   {title}")
        for title, report in (("backup", packed), ("restore", restored)):
            phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in to_json(report.timings).items())
            say(f"  {title}: {phases}")
