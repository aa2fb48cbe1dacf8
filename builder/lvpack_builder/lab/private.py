"""A network of one's own: a namespace with nothing but loopback, which no other program of this machine reaches.

Servers of a lab give root's rights to whoever talks to them. In here, only guests that were started in here do.
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvpack_agent.errors import Refused

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
# netdevice(7): a name of 16 bytes, then flags, or an address as in ip(7). IFF_UP and IFF_RUNNING.
_SIOCSIFFLAGS, _FLAGS, _UP = 0x8914, struct.Struct("16sh14x"), 0x41
_SIOCSIFADDR, _ADDRESS = 0x8916, struct.Struct("16sHxx4s8x")
_OF_THIS_THREAD = Path("/proc/thread-self/ns/net")

_libc = ctypes.CDLL(None, use_errno=True)
# The namespaces that were made here, by their inode (namespaces(7)), and a descriptor of the one that stays.
_made: set[int] = set()
_kept: list[int] = []
_lock = threading.Lock()


def _unshare(flags: int) -> int:
    return int(_libc.unshare(flags))


def _checked(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def private_network(*, fresh: bool = False) -> Iterator[None]:
    """Put this thread, and all processes and threads that it starts, into a network of their own while this lasts.

    All of this process are in the same one, so that guests and servers may come and go; fresh: one that ends with
    this. Within one already, it is that one. It must end in the thread that it began in. Raises Refused where this
    process may not make a namespace (unshare(2)).
    """
    if _OF_THIS_THREAD.stat().st_ino in _made:
        yield
        return
    before = os.open(_OF_THIS_THREAD, os.O_RDONLY)
    try:
        with _lock:
            if fresh or not _kept:
                _enter_new()
            else:
                _checked(_libc.setns(_kept[0], CLONE_NEWNET))
            if not fresh and not _kept:
                _kept.append(os.open(_OF_THIS_THREAD, os.O_RDONLY))
        try:
            yield
        finally:
            if fresh:
                _made.discard(_OF_THIS_THREAD.stat().st_ino)
            _checked(_libc.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


def _enter_new() -> None:
    try:
        _checked(_unshare(CLONE_NEWNET))
    except OSError as error:
        raise Refused(
            "cannot serve a share: lvpack may not make a network namespace, so that every user of this machine could "
            f"reach it: {error.strerror}",
            hint="run lvpack as root; a container must have CAP_SYS_ADMIN",
        ) from error
    _made.add(_OF_THIS_THREAD.stat().st_ino)
    _loopback()


def _loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _FLAGS.pack(b"lo", _UP))
        # Where 127.0.0.1 is the only address, getaddrinfo(3) with AI_ADDRCONFIG knows none, not even that, and
        # nfs-ganesha gives up. One more of loopback's is enough for it.
        more = _ADDRESS.pack(b"lo:0", socket.AF_INET, socket.inet_aton("127.0.0.2"))
        fcntl.ioctl(any_socket, _SIOCSIFADDR, more)
