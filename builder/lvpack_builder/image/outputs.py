"""Folders that are made as a whole or not at all."""

import fcntl
import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.errors import Refused
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.paths import locked

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
# What is read of a manifest to see whether it is a build's: a line for each package, some 500.
MANIFEST_MOST = 4 * MIB
# What the manifest of a build has had in every version; that of an image set has no kernel and no packages.
KEYS = {"lvpack", "release", "kernel", "arguments", "sizes", "packages"}
HINT = "name a new folder, an empty one, or one of an earlier build"


def check_replaceable(out: Path) -> None:
    """Raise Refused if a folder holds what lvpack did not put there: a build replaces all of it.

    Only a build is replaced, which its manifest and its checksums prove, without a file that is not listed there or was
    changed since. That some are missing is no matter.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or (any(out.iterdir()) and not _is_build(out)):
        raise Refused(f"cannot build into '{out}': it is there already and is no live image", hint=HINT)
    sums = _sums(out)
    foreign, changed = [], []
    for name, file in _files(out):
        if file.is_symlink() or not file.is_file() or name not in sums:
            foreign.append(name)
        elif _sum(file) != sums[name]:
            changed.append(name)
    for names, what in ((foreign, "no build put there"), (changed, "was changed since it was built")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise Refused(
                f"cannot build into '{out}': a build replaces all of it, and it holds what {what}: "
                + ", ".join(f"'{name}'" for name in names[:3])
                + more,
                hint=f"move that to another place first, or {HINT}",
            )


def write_sums(folder: Path) -> None:
    """Write the checksums of all files in a new folder, for `sha256sum --check`."""
    (folder / SUMS).write_text("".join(f"{_sum(file)}  {name}\n" for name, file in _files(folder)))


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files below a folder by name, without the list of their checksums; what is a link is one, too."""
    paths = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return [(p.relative_to(folder).as_posix(), p) for p in paths if p != folder / SUMS or p.is_symlink()]


def is_live_image(folder: Path) -> bool:
    """Tell whether a folder's manifest is that of a build."""
    try:
        return guarded.read_object(folder / MANIFEST, MANIFEST_MOST, follow=True).keys() >= KEYS
    except (OSError, ValueError):
        return False


def _is_build(out: Path) -> bool:
    return is_live_image(out) and MANIFEST in _sums(out)


def _sums(out: Path) -> dict[str, str]:
    """Return file → SHA-256 as `sha256sum` lists them; empty if there is no such list."""
    try:
        lines = (out / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give an empty folder beside out, and put it in the place of out at the end.

    After an exception out is as it was and the new folder is gone. One that was left by a killed process (SIGKILL)
    is removed by the next. Raises OSError if the disk is full or cannot be written.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.partial-"
    with locked("outputs"):
        for abandoned in out.parent.glob(prefix + "*"):
            _remove_if_abandoned(abandoned)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
        handle = os.open(scratch, os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        _exchange(out, new, scratch / "old")
    finally:
        remove(scratch)
        os.close(handle)


def _exchange(out: Path, new: Path, old: Path) -> None:
    # An interrupt must find the one or the other in its place.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            # The lock of a process ends with it (flock(2)); while it lives this raises BlockingIOError.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        finally:
            os.close(handle)


def remove(folder: Path) -> None:
    """Remove a folder, if it exists, and nothing on other filesystems that are mounted in it."""
    run(["rm", "--recursive", "--force", "--one-file-system", folder])
