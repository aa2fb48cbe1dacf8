"""Shares that are folders, and how they are used."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares.rate import Rate
from lvpack_agent.shares.share import Access, Share


def folder_share(folder: Path, rate: Rate | None = None) -> Share:
    """Return a share that is a folder, as one by NFS is."""
    return Share(name="nfs://h/e", folder=folder, rate=rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithRoom(Share):
    left: int

    def room(self) -> int:
        return self.left


def with_room(left: int, device: str) -> Share:
    """Return a share that says that it has room for so many bytes; device as a Share has it."""
    return _WithRoom(name="file://h/e", folder=Path("/nowhere"), left=left, device=device)


@dataclass(frozen=True, slots=True)
class Known:
    """Secrets by their names."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def find(self, name: str) -> bytes | None:
        return self.texts.get(name)

    def need(self, name: str, what: str) -> bytes:
        try:
            return self.texts[name]
        except KeyError:
            raise Refused(f"cannot find secret '{name}', {what}", hint="give it") from None


def access(
    *,
    read_only: bool = False,
    patience: float = 600,
    options: ShareOptions | None = None,
    disks: tuple[str, ...] = ("auto",),
    secrets: dict[str, bytes] | None = None,
    rate: int = 0,
    set_time: Callable[[float], object] | None = None,
) -> Access:
    """Return how a share is used; secrets by their names."""
    return Access(
        options=options or ShareOptions(),
        secrets=Known(secrets or {}),
        patience=patience,
        read_only=read_only,
        disks=disks,
        rate=rate,
        set_time=set_time,
    )
