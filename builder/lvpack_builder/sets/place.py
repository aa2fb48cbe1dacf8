"""Where image sets are, as a person names it on the workstation: a folder, or the URL of a share.

What the agent's own clients reach is read by them. Nothing is mounted here: that is for root, and would change what the
workstation has mounted already (an NFS server that is given up is given up for all of its mounts).
"""

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lvpack_agent.errors import Refused
from lvpack_agent.image.check import read_manifest
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.network.up import Network
from lvpack_agent.network.values import NetOptions
from lvpack_agent.secret.secrets import fit
from lvpack_agent.session import Session
from lvpack_agent.settings import urls
from lvpack_agent.settings.read import parse
from lvpack_agent.settings.table import PREFIX
from lvpack_agent.settings.values import ShareOptions
from lvpack_agent.shares.mounted import MOUNTS, mounted
from lvpack_agent.shares.share import Access, Share
from lvpack_agent.shares.stored import Source, local
from lvpack_agent.shares.url import ShareUrl, parse_url
from lvpack_builder.sets.find import image_set

Place = Path | str
# What of the kernel command line holds for a share on the workstation, too.
OPTIONS = (f"{PREFIX}share", f"{PREFIX}patience")
# No run is lost: people and cron wait less.
PATIENCE = f"{PREFIX}patience=1m"
SHARED_MEMORY = "/dev/shm"
# Secrets that ssh and OpenSSL read from files.
_KEYS = ("ssh-key", "client-cert")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(text: str) -> bool:
    """Return whether a place is named by a URL."""
    return bool(_URL.match(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Secrets that were given as files (Secrets)."""

    texts: Mapping[str, bytes] = field(repr=False)

    def find(self, name: str) -> bytes | None:
        """Return a secret; None if it was not given. Raises Refused if it is not fit."""
        return fit(name, f"--secret {name}=", self.texts[name]) if name in self.texts else None

    def need(self, name: str, what: str) -> bytes:
        """Return a secret; what says what it is for. Raises Refused if it was not given, or is not fit."""
        if (found := self.find(name)) is None:
            raise Refused(f"cannot find secret '{name}', {what}: it was not given", hint=f"--secret {name}=FILE does")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How the share of a URL is reached: its options and secrets, and the seconds that a server may be silent.

    say gets a line for each pause of the server, and each warning.
    """

    options: ShareOptions = ShareOptions()  # noqa: RUF009 (frozen)
    secrets: Given = Given(texts={})
    patience: float = 60.0
    say: Callable[[str], None] = lambda text: None


def means(place: Place, words: Sequence[str], secrets: Mapping[str, bytes], say: Callable[[str], None]) -> Means:
    """Return how a place is reached; words are OPTIONS of the kernel command line.

    Raises Refused if one of them is another option, is malformed, or is none of that share.
    """
    for word in words:
        if word.partition("=")[0] not in OPTIONS:
            raise Refused(
                f"cannot use option '{urls.masked(word)}' here",
                hint=f"a share on the workstation has {' and '.join(OPTIONS)}",
            )
    target = [] if isinstance(place, Path) else [f"{PREFIX}target={place}"]
    settings = parse([f"{PREFIX}action=plan", PATIENCE, *words, *target])
    assert settings
    return Means(options=settings.share, secrets=Given(texts=secrets), patience=settings.patience, say=say)


def checked_url(verb: str, text: str, *, beside: int = 0) -> str:
    """Return the URL of a share, or of what is so many names below one. Raises Refused: cannot VERB 'URL': …"""
    text = os.fsencode(text).decode(errors="backslashreplace")
    try:
        if urls.CONTROL.search(text):
            raise ValueError("it has control characters")
        urls.url(beside)(text)
    except ValueError as error:
        raise Refused(f"cannot {verb} '{urls.masked(text)}': {error}", hint="docs/shares.md has the forms") from None
    return text


@contextmanager
def opened_share(verb: str, place: Place, how: Means) -> Iterator[Share]:
    """Yield the share of a place, to be read.

    Raises Refused: cannot VERB 'PLACE': … if it would have to be mounted, or if a key cannot be in memory; Failed if
    its server cannot be reached.
    """
    if isinstance(place, Path):
        folder = place.resolve()
        yield Share(name=str(folder), folder=folder)
        return
    with _remote(verb, parse_url(place), how) as share:
        yield share


@contextmanager
def opened_set(verb: str, place: Place, how: Means) -> Iterator[tuple[Path, Source]]:
    """Yield the folder of an image set, and what finds its files.

    Raises Refused if it is none, or as opened_share().
    """
    if isinstance(place, Path):
        yield image_set(verb, place), local
        return
    url, name = parse_url(place).parent()
    with _remote(verb, url, how) as share:
        yield share.folder / name, share.source


def manifest_of(verb: str, place: Place, how: Means) -> Manifest:
    """Return the manifest of an image set; warn of damage to what a restore does not need.

    Raises Refused if it is no image set, Failed if it is damaged.
    """
    with opened_set(verb, place, how) as (folder, source):
        return read_manifest(folder, lambda cause: how.say(f"warning: {cause}"), source)


class _Up(Network):
    """The network of a workstation: it is up, and stays as it is."""

    def up(self, say: Callable[[str], None]) -> None:
        """Do nothing."""


@contextmanager
def _remote(verb: str, url: ShareUrl, how: Means) -> Iterator[Share]:
    if url.scheme in MOUNTS:
        raise Refused(
            f"cannot {verb} '{url}': lvpack mounts no share on a workstation",
            hint=f"mount it and name the folder: {_mount(url)}",
        )
    memory = _memory()
    if memory is None and (keys := [name for name in _KEYS if name in how.secrets.texts]):
        raise Refused(
            f"cannot {verb} '{url}': there is no folder in memory for secret '{keys[0]}'",
            hint=f"let XDG_RUNTIME_DIR be a folder on a tmpfs that you may write to; {SHARED_MEMORY} is none here",
        )
    access = Access(options=how.options, secrets=how.secrets, patience=how.patience, read_only=True)
    session = Session(action="", out=lambda line: None)
    with (
        tempfile.TemporaryDirectory(prefix="lvpack-", dir=memory) as folder,
        mounted(url, Path(folder) / "share", _Up(NetOptions()), session, access) as share,
    ):
        for warning in session.warnings:
            how.say(f"warning: {warning}")
        session.out = how.say
        yield share


def _memory() -> str | None:
    """Return a folder in memory, for a key that ssh reads from a file; None if there is none."""
    folders = (os.environ.get("XDG_RUNTIME_DIR", ""), SHARED_MEMORY)
    return next((f for f in folders if f and os.access(f, os.W_OK | os.X_OK)), None)


def _mount(url: ShareUrl) -> str:
    """Return the command that mounts a share for reading."""
    path = url.path.rstrip("/") or "/"
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f",port={url.port}" if url.port else ""
    if url.scheme == "nfs":
        return f"mount -t nfs -o ro{port} {shlex.quote(f'{host}:{path}')} /mnt"
    if url.scheme == "smb":
        return f"mount -t cifs -o ro,user=NAME{port} {shlex.quote(f'//{host}{path}')} /mnt"
    return f"mount -o ro {shlex.quote(f'LABEL={url.host}')} /mnt (or UUID=…)"
