"""Is a disk exactly what was planned? This is asked of packed disks before a dump, of targets after a restore.

Tested in guests, as it needs device-mapper: qemu-tests/tests/test_main_job.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lvpack_agent import parallel
from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import ext
from lvpack_agent.layout.layout import Layout, differences
from lvpack_agent.layout.volumes import by_place
from lvpack_agent.probe.open import Opened, opened


@contextmanager
def verified(devices: Sequence[str], target: Layout, say: Callable[[str], None]) -> Iterator[Opened]:
    """Probe the disks of a target, check every ext filesystem on them without writing, and yield them while open.

    Raises Failed that names the differences unless they are exactly the target.
    """

    def check(filesystem: tuple[str, str]) -> None:
        name, path = filesystem
        say(f"check {name} (read-only)")
        ext.check(path)

    with opened(tuple(zip(devices, target.disks, strict=True)), "check", estimate=False) as found:
        # In the image sets of older versions VGs are as LVM happened to report them.
        if lines := differences(replace(target, vgs=by_place(target.vgs)), found.layout):
            names = "' and '".join(devices)
            raise Failed(f"cannot trust '{names}': it is not what was planned: " + "; ".join(lines[:5]))
        parallel.each(check, found.ext_devices())
        yield found
