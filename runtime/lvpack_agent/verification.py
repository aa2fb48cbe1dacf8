"""Is a disk exactly what was planned? Asked of the packed disk before its dump and of a target after its restore."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lvpack_agent import ext, parallel
from lvpack_agent.errors import Failed
from lvpack_agent.layout import Layout, differences
from lvpack_agent.probe import Opened, opened


@contextmanager
def verified(device: str, target: Layout, say: Callable[[str], None]) -> Iterator[Opened]:
    """Probe a disk, check every ext filesystem on it without writing, and yield it while it is still open.

    Raises Failed that names the differences unless the disk is exactly the target.
    """

    def check(filesystem: tuple[str, str]) -> None:
        name, path = filesystem
        say(f"check {name} (read-only)")
        ext.check(path)

    with opened([(device, target.disks[0])], "check", estimate=False) as found:
        if lines := differences(target, found.layout):
            raise Failed(f"cannot trust '{device}', it is not what was planned: " + "; ".join(lines[:5]))
        parallel.each(check, found.ext_devices())
        yield found
