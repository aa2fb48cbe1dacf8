"""Filesystems that are mounted to be read, on disks of which no byte may change.

"ro" alone does not do that: the kernel replays the log of ext3, ext4 and XFS all the same. Without that the driver of
ext still works off the list of files that were open when they were removed, and writes down errors that it meets,
unless the device itself takes no writes (kernel: fs/ext4/orphan.c, ext4_orphan_cleanup(); fs/ext4/super.c,
ext4_handle_error()).

Tested with real filesystems: tests/agent/shares/test_file_mounted.py.
"""

from lvpack_agent.devices import blockdev
from lvpack_agent.devices.lsblk import FILESYSTEMS, BlockDevice
from lvpack_agent.undo import Undo


def unwritten(device: BlockDevice, undo: Undo) -> str:
    """Return the options with which mount(8) writes nothing to a device, which takes no writes until undo runs.

    What the log of its filesystem has, and nothing else yet, is not seen then.
    """
    blockdev.set_read_only((device,), undo)
    return f"ro{FILESYSTEMS[device.fstype]}"
