"""A TCP port before a server, which can stall, drop and resume: a network or a server that fails, for tests."""

import select
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

from lvpack_agent.errors import Failed
from lvpack_builder.lab.relay import LOOPBACK

_CHUNK = 1 << 18
# On, and no seconds: closing a connection resets it (socket(7), SO_LINGER).
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Relays what comes to its port to a port of this machine. A context manager; all connections end with it.

    stall(): nothing passes any more, in neither direction, and new connections get no answer. drop(): all connections
    are reset and new ones refused, as by a machine that is up without its server. resume(): as before, to the port
    that is given, if it is: a server that was restarted has another one.
    """

    def __init__(self, server: int, port: int = 0) -> None:
        self._server = server
        self._open = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._listener: socket.socket | None = None
        self.port = port
        self._listen()
        self._open.set()

    def stall(self) -> None:
        """Let nothing pass."""
        self._open.clear()

    def drop(self) -> None:
        """Reset all connections and refuse new ones."""
        self._deafen()
        self._reset()

    def resume(self, server: int | None = None) -> None:
        """Let all pass again; what was stalled comes through now."""
        if server is not None and server != self._server:
            self._server = server
            self._reset()
        if self._listener is None:
            self._listen()
        self._open.set()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended = True
        self._open.set()
        self.drop()

    def _listen(self) -> None:
        try:
            self._listener = socket.create_server((LOOPBACK, self.port))
        except OSError as error:
            raise Failed(
                f"cannot listen on port '{self.port}': {error.strerror}", hint="choose another port"
            ) from error
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=[self._listener], name="proxy", daemon=True).start()

    def _deafen(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
            listener.close()

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for link in pair:
                with suppress(OSError):
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    link.shutdown(socket.SHUT_RDWR)
        # Closed by the threads that relay, which would else read from what another connection has got.

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            self._open.wait()
            try:
                server = socket.create_connection((LOOPBACK, self._server), timeout=5)
            except OSError:
                link.close()
                continue
            pair = (link, server)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._relay, args=[pair], name="proxied", daemon=True).start()

    def _relay(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Pass on what comes from either side, until one of them is gone."""
        others = dict(zip(pair, reversed(pair), strict=True))
        for link in pair:
            link.settimeout(None)
        try:
            with suppress(OSError):
                while not self._ended:
                    readable, _, _ = select.select(pair, [], [], 0.5)
                    for link in readable:
                        self._open.wait()
                        data = link.recv(_CHUNK)
                        self._open.wait()
                        if not data:
                            return
                        others[link].sendall(data)
        finally:
            with self._lock:
                self._pairs.discard(pair)
            for link in pair:
                link.close()
