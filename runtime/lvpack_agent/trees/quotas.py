"""Quotas of XFS: limits, grace times and running timers of users, groups and projects, from one filesystem to another.

Facts: quotactl(2), linux/dqblk_xfs.h, the kernel's fs/xfs/xfs_qm_syscalls.c.

Tested in guests, for this machine may have a kernel without quotas of XFS: qemu-tests/tests/test_xfs.py.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

# QCMD() of XQM_CMD(4), Q_XSETQLIM, and XQM_CMD(9), Q_XGETNEXTQUOTA; the kind goes into the low byte.
_SET, _NEXT = 0x5804 << 8, 0x5809 << 8
# By the letter that xfs_quota(8) has for it: USRQUOTA, GRPQUOTA, PRJQUOTA.
_KINDS = {"u": 0, "g": 1, "p": 2}
NAMES = {"u": "users", "g": "groups", "p": "projects"}
# struct fs_disk_quota: version, flags, mask, id; limits of blocks and inodes; what is in use; timers, warnings, the
# high bytes of timers; the same of the realtime section.
_QUOTA = struct.Struct("=bbHI4Q2Q2i2H4bQQQiHh8x")
_MASK, _ID, _LIMITS, _TIMERS = 2, 3, slice(4, 8), slice(10, 12)
# All limits and timers; FS_DQ_BIGTIME says that the high bytes are meant.
_ALL, _BIGTIME = 0x1FF, 0x8000
# (uid_t)-1 is nobody's.
_NO_ID = 0xFFFFFFFF


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.quotactl.argtypes = [ctypes.c_uint, ctypes.c_char_p, ctypes.c_uint, ctypes.c_void_p]
    return library


def _call(command: int, device: str, number: int, data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, _QUOTA.size)
    # A command with its high bit set is a negative number to C, and the same bits.
    if _libc().quotactl(command & 0xFFFFFFFF, os.fsencode(device), number, buffer):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return buffer.raw


def _each(device: str, kind: int) -> Iterator[tuple[int, ...]]:
    """Yield the quotas of a mounted filesystem, by id; that of id 0, the first, has the grace times of all."""
    number = 0
    while number < _NO_ID:
        try:
            found = _QUOTA.unpack(_call(_NEXT | kind, device, number, b""))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                return
            raise
        yield found
        number = found[_ID] + 1


def read(device: str, kind: str) -> list[tuple[int, ...]]:
    """Return id, limits and timers (of inodes and blocks) of the quotas of a mounted filesystem that have any."""
    quotas = ((found[_ID], *found[_LIMITS], *found[_TIMERS]) for found in _each(device, _KINDS[kind]))
    return [quota for quota in quotas if any(quota[1:])]


def same_limits(kind: str, old: str, new: str) -> bool:
    """Return whether two mounted filesystems have the same limits; timers run. False if that cannot be read."""
    try:
        before, after = ({q[0]: q[1:5] for q in read(device, kind) if any(q[1:5])} for device in (old, new))
        return before == after
    except OSError:
        return False


def copy(kind: str, old: str, new: str, tick: Callable[[], None]) -> None:
    """Give a mounted filesystem the limits and timers of another; kind is u, g or p.

    A timer goes on only where the copy, too, uses more than the limit. What the kernel does not take is left out:
    same_limits() tells.
    """
    with suppress(OSError):
        for number, found in enumerate(_each(old, _KINDS[kind])):
            if any((*found[_LIMITS], *found[_TIMERS])):
                wanted = list(found)
                wanted[_MASK] = _ALL | found[_MASK] & _BIGTIME
                with suppress(OSError):
                    _call(_SET | _KINDS[kind], new, found[_ID], _QUOTA.pack(*wanted))
            if number % 1000 == 0:
                tick()
