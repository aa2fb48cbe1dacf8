"""One TCP port for several RPC programs, as servers have it that serve NFS 3 and MOUNT on one port.

nfs-ganesha cannot: on its NFS port it answers MOUNT calls with "program unavailable" (nfs-ganesha issue 952).

No unit test: qemu-tests/tests mount by NFS 3 through it.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from lvpack_agent.errors import Failed

LOOPBACK = "127.0.0.1"
# Program numbers of RFC 1813.
NFS, MOUNT = 100003, 100005
# Record mark, transaction id, message type, RPC version, program: the first five words of a call (RFC 5531).
_HEAD = struct.Struct(">5I")
_CHUNK = 1 << 18


def program(head: bytes) -> int:
    """Return the program number of an RPC call from its first 20 bytes."""
    return int(_HEAD.unpack(head)[4])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # either end is gone; closing tells the other
    finally:
        writer.close()


class _Relay:
    def __init__(self, ports: Mapping[int, int]) -> None:
        self._ports = ports

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Find the program that a client calls first and join it to that program's port; others are closed."""
        try:
            head = await reader.readexactly(_HEAD.size)
            there, back = await asyncio.open_connection(LOOPBACK, self._ports[program(head)])
        except (asyncio.IncompleteReadError, OSError, KeyError):
            writer.close()
            return
        back.write(head)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _until(listener: socket.socket, ports: Mapping[int, int], ended: asyncio.Event) -> None:
    async with await asyncio.start_server(_Relay(ports).serve, sock=listener):
        await ended.wait()


@contextmanager
def relay(ports: Mapping[int, int], port: int = 0) -> Iterator[int]:
    """Serve RPC programs, each on a loopback port of its own, by one loopback port; yield that port.

    ports: program number → port. Raises Failed if port is taken; 0 takes a free one.
    """
    try:
        listener = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise Failed(f"cannot listen on port '{port}': {error.strerror}", hint="choose another port") from error
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    thread = threading.Thread(target=_run, args=(loop, listener, ports, ended), name="relay", daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(ended.set)
        thread.join()


def _run(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, ports: Mapping[int, int], ended: asyncio.Event
) -> None:
    loop.run_until_complete(_until(listener, ports, ended))
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()
