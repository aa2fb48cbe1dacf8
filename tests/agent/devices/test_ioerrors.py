"""What the kernel says of disks; the lines are those of Debian's 6.12, but for the marked older ones."""

from lvpack_agent.devices import ioerrors
from lvpack_agent.devices.ioerrors import DiskError

LOG = """\
EXT4-fs (dm-3): mounted filesystem
I/O error, dev vda, sector 526400 op 0x0:(READ) flags 0x80700 phys_seg 32 prio class 2
critical medium error, dev sdb, sector 7 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2
critical space allocation error, dev sda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2
blk_update_request: I/O error, dev cciss!c0d0, sector 3 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0
I/O error, dev vda, sector 526400 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2
Buffer I/O error on dev dm-5, logical block 3, async page read
"""
FULL = "device-mapper: snapshots: Invalidating snapshot: Unable to allocate exception.\n"
FAILED = "device-mapper: snapshots: Invalidating snapshot: Error reading/writing.\n"


def test_errors_of_disks() -> None:
    found = ioerrors.parse(LOG)
    assert [(e.path, e.sector, e.operation) for e in found] == [
        ("/dev/vda", 526400, "READ"),
        ("/dev/sdb", 7, "READ"),
        ("/dev/sda", 2048, "WRITE"),
        ("/dev/cciss/c0d0", 3, "READ"),
        ("/dev/vda", 526400, "READ"),
    ]
    assert ioerrors.of_disks(found, ["/dev/vda"]) == [found[0]]
    assert str(found[1]) == "disk '/dev/sdb' could not be read from sector 7 on (critical medium error)"
    assert ioerrors.of_disks(found, ["/dev/sda"], "WRITE") == [
        DiskError(kind="critical space allocation error", name="sda", sector=2048, operation="WRITE")
    ]


def test_a_snapshot_that_was_full_is_told_from_one_that_could_not_be_read() -> None:
    assert ioerrors.overflowed(FULL) and ioerrors.overflowed(FAILED + FULL) and ioerrors.overflowed(LOG)
    assert not ioerrors.overflowed(FAILED) and not ioerrors.overflowed(FULL + LOG + FAILED)
