"""A switch between two networks of QEMU: frames on its trunk carry the tag of a VLAN, on its access port none."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# IEEE 802.1Q: after the two addresses, 6 bytes each, a type and 16 bits with the VLAN's id in the last 12.
ADDRESSES, TAGGED = 12, b"\x81\x00"
LARGEST = 1 << 16


@dataclass(slots=True, kw_only=True)
class Switch:
    """The two ports as values of -netdev, and how many frames went out of and into the VLAN, or belonged to none."""

    trunk: str
    access: str
    passed: dict[str, int] = field(default_factory=lambda: {"out": 0, "in": 0, "dropped": 0})


def tag(frame: bytes, vlan: int) -> bytes:
    """Put a frame into a VLAN."""
    return frame[:ADDRESSES] + TAGGED + vlan.to_bytes(2, "big") + frame[ADDRESSES:]


def untag(frame: bytes, vlan: int) -> bytes | None:
    """Take a frame out of a VLAN; None if it is in none or another one."""
    end = ADDRESSES + 4
    is_in = frame[ADDRESSES : ADDRESSES + 2] == TAGGED and int.from_bytes(frame[end - 2 : end], "big") & 0xFFF == vlan
    return frame[:ADDRESSES] + frame[end:] if is_in else None


@contextmanager
def switch(folder: Path, vlan: int) -> Iterator[Switch]:
    """Run a switch whose sockets are in a folder."""
    with ExitStack() as undo:
        ours = {}
        for name in ("trunk", "access"):
            ours[name] = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            ours[name].bind(str(folder / f"{name}.ours"))
        made = Switch(trunk=_netdev(folder, "trunk"), access=_netdev(folder, "access"))
        stopping, stop = socket.socketpair()
        undo.callback(stopping.close)
        thread = threading.Thread(target=_serve, args=(folder, vlan, ours, made, stopping), daemon=True)
        thread.start()
        undo.callback(thread.join)
        undo.callback(stop.close)
        yield made


def _netdev(folder: Path, name: str) -> str:
    local, remote = folder / f"{name}.qemu", folder / f"{name}.ours"
    return f"dgram,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"


def _serve(folder: Path, vlan: int, ours: dict[str, socket.socket], made: Switch, stopping: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([*ours.values(), stopping], [], [])
        if stopping in ready:
            return
        for here, there, way in (("trunk", "access", "out"), ("access", "trunk", "in")):
            if ours[here] not in ready:
                continue
            frame = ours[here].recv(LARGEST)
            sent = untag(frame, vlan) if way == "out" else tag(frame, vlan)
            made.passed[way if sent else "dropped"] += 1
            if sent:
                ours[there].sendto(sent, str(folder / f"{there}.qemu"))
