"""What is on a share: its image sets, those that are not finished, and the logs of backups that ended badly.

Whatever somebody has put there, each thing is a row; a bad one says why. Of a set the manifest is read, and the length
of its images looked at: `lvpack verify` reads all of it.
"""

import re
import time
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path

from lvpack_agent import guarded
from lvpack_agent.backup import failed_log
from lvpack_agent.backup.clock import DAY
from lvpack_agent.errors import Failed, LvpackError, Refused, understood
from lvpack_agent.image import check, losses
from lvpack_agent.image.files import MANIFEST, MANIFEST_MOST, PARTIAL, SUMS
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.printable import printable
from lvpack_agent.report import RESULT_MARK, parse_result
from lvpack_agent.shares.remote import RemoteShare
from lvpack_agent.shares.share import Share
from lvpack_agent.shares.stored import whole
from lvpack_agent.sizes import KIB, MIB
from lvpack_builder.image.outputs import KEYS
from lvpack_builder.sets.naming import begun, is_stamped, machine_of
from lvpack_builder.sets.rows import BAD, COMPLETE, UNFINISHED, Listing, LogRow, SetRow

# What only sets have in their folder; the last is the claim of an S3 writer (shares/s3.py).
_PART = re.compile(rf"disk\d*\.img(\.zst|\.gz|\.bmap)?|{SUMS}|lvpack-writes-.*")
# So much of a log is read at its ends; the result line, with all warnings, is its last.
_HEAD, _TAIL = KIB, MIB
# What a filesystem itself puts into a folder.
_NOT_OURS = ("lost+found",)


def listing(share: Share, now: float) -> Listing:
    """Return what is on a share; now is the time of this machine.

    Raises Refused if the share is itself an image set, Failed if its names cannot be read, or if its server goes away.
    """
    try:
        names = share.names()
    except OSError as error:
        raise Failed(
            f"cannot list '{share.name}': {error.strerror}",
            hint="check the folder and who may read it; a web server needs WebDAV's PROPFIND for a list",
        ) from None
    if MANIFEST in names:
        raise Refused(
            f"cannot list '{share.name}': it is an image set, or a live image",
            hint="give the folder above; `lvpack inspect` shows a set",
        )
    sets, failed = list[SetRow](), list[LogRow]()
    for name in names:
        if name.startswith(".") or name in _NOT_OURS:
            continue
        if name.endswith(failed_log.SUFFIX):
            failed += _logs(share, name, now)
        else:
            sets += _sets(share, name, now)
    return Listing(
        share=printable(share.name),
        now=int(now),
        sets=tuple(sorted(sets, key=lambda row: (row.machine, -(row.created or 0), row.name))),
        failed=tuple(sorted(failed, key=lambda row: (row.machine, -(row.ended or 0), row.name))),
    )


def seconds(text: str) -> int | None:
    """Return a time such as 2026-11-27T21:03:15Z in seconds since 1970; None if it is none."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text, re.ASCII):
        return None
    try:
        return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None


def _sets(share: Share, name: str, now: float) -> Iterator[SetRow]:
    """Yield the row of a name, or none if it is no set's."""
    folder = share.folder / name
    if name.endswith(PARTIAL):
        if cause := _at_work(share, folder):
            yield _incomplete(name, UNFINISHED, cause, now)
        return
    try:
        text = whole(share.source(folder / MANIFEST, MANIFEST_MOST), MANIFEST_MOST)
    except (FileNotFoundError, NotADirectoryError):
        text = None
    except OSError as error:
        if _is_set(share, folder, error):
            yield _bad(name, f"{MANIFEST}: {error.strerror}", now)
        return
    except MemoryError:
        yield _bad(name, f"{MANIFEST} does not fit into memory", now)
        return
    if text is None:
        if any(map(_PART.fullmatch, _inside(share, folder))):
            yield _incomplete(name, UNFINISHED, f"it has no {MANIFEST}", now)
        return
    try:
        with understood("it"):
            manifest = check.manifest_of(folder, text)
            row = _row(name, manifest, now)
    except LvpackError as error:
        if not _is_live_image(text):
            yield _bad(name, _short(error.message, name), now)
        return
    del text
    cause = _image_lies(share, folder, manifest)
    yield _bad(name, cause, now) if cause else row


def _at_work(share: Share, folder: Path) -> str:
    """Return why a folder that is called NAME.partial is an unfinished set; "" if it is none."""
    # Where nothing is renamed no set is called so, and names_in() looks at the set itself.
    if isinstance(share, RemoteShare) and not share.renames:
        return ""
    is_ours = is_stamped(folder.name)
    try:
        inside = share.names_in(folder)
    except OSError as error:  # no folder, or nobody knows
        return f"it cannot be read: {error.strerror}" if is_ours and isinstance(error, PermissionError) else ""
    # Of a file a web server gives an empty list, too.
    return "a backup is at work, or was cut off" if inside or is_ours or not share.is_remote else ""


def _is_set(share: Share, folder: Path, error: OSError) -> bool:
    """Return whether that of which no manifest can be read, by an error, is a set: by its name, or what is in it."""
    if is_stamped(folder.name):
        return True
    inside = _inside(share, folder)
    is_there = MANIFEST in inside and not isinstance(error, PermissionError)  # others have files of that name, too
    return is_there or any(map(_PART.fullmatch, inside))


def _inside(share: Share, folder: Path) -> list[str]:
    """Return the names in a folder, none if it is no folder, or may not be read."""
    try:
        return share.names_in(folder)
    except OSError:
        return []


def _image_lies(share: Share, folder: Path, manifest: Manifest) -> str:
    """Return which image of a set is not as long as its manifest says; "" if each is."""
    for image in manifest.images:
        try:
            found = share.source(folder / image.image).size()
        except OSError as error:
            return f"{image.image}: {error.strerror}"
        if found != image.checksums.stored_size:
            return f"{image.image} has {found:,} bytes, not {image.checksums.stored_size:,}"
    return ""


def _row(name: str, manifest: Manifest, now: float) -> SetRow:
    created, warnings = seconds(manifest.created), list(manifest.warnings)
    if created is None:
        warnings.insert(0, f"it does not say when it was made: '{manifest.created}'")
    elif created > now + DAY:
        warnings.insert(0, f"it says that it was made at {manifest.created}, which is to come")
        created = None
    source = sum(disk.size for disk in manifest.plan.source.disks)
    if source < 0 or manifest.packed_size < 0:
        raise ValueError("a disk has less than no bytes")
    missing = losses.summary(manifest.unreadable)
    return SetRow(
        name=printable(name),
        state=COMPLETE,
        machine=machine_of(name),
        created=created,
        source_disk=source,
        packed_disk=manifest.packed_size,
        stored=manifest.stored_size,
        model=printable(" ".join(manifest.machine.get(k, "") for k in ("sys_vendor", "product_name")).strip()),
        product_uuid=printable(manifest.machine.get("product_uuid", "")),
        vgs=tuple(printable(vg.uuid) for vg in manifest.plan.source.vgs),
        lvpack=printable(manifest.lvpack),
        warnings=tuple(map(printable, dict.fromkeys([*filter(None, [missing]), *warnings]))),
    )


def _bad(name: str, cause: str, now: float) -> SetRow:
    return _incomplete(name, BAD, cause, now)


def _incomplete(name: str, state: str, cause: str, now: float) -> SetRow:
    return SetRow(
        name=printable(name),
        state=state,
        machine=machine_of(name),
        created=begun(name, now),
        cause=printable(cause),
    )


def _short(message: str, name: str) -> str:
    """Return the cause in the message of an error about a set."""
    for verb in ("trust", "read"):
        message = message.removeprefix(f"cannot {verb} image set '{printable(name)}': ")
    return message


def _is_live_image(text: bytes) -> bool:
    try:
        return guarded.object_of(guarded.json_of(text)).keys() >= KEYS
    except ValueError:
        return False


def _logs(share: Share, file: str, now: float) -> Iterator[LogRow]:
    """Yield the row of a log, or none if it is no such log."""
    name = file.removesuffix(failed_log.SUFFIX)

    def row(ended: int | None = None, status: str = "", message: str = "", cause: str = "") -> LogRow:
        return LogRow(
            file=printable(file),
            name=printable(name),
            machine=machine_of(name),
            ended=ended,
            status=printable(status),
            message=printable(message),
            cause=printable(cause),
        )

    try:
        stored = share.source(share.folder / file)
        size = stored.size()
        first, _, rest = stored.read(0, _HEAD).decode(errors="replace").partition("\n")
        lines = stored.read(max(0, size - _TAIL), _TAIL).decode(errors="replace").splitlines()
    except OSError as error:
        yield row(cause=error.strerror or "it cannot be read")
        return
    if first != failed_log.FIRST:
        return
    ended = seconds(rest.partition("\n")[0].rpartition(", ")[2])
    if ended is not None and ended > now + DAY:
        ended = None
    try:
        with understood("its result line"):
            found = parse_result(next(line for line in reversed(lines) if line.startswith(RESULT_MARK)))
    except (StopIteration, Failed):
        yield row(ended, cause="it ends without a result line")
        return
    yield row(ended, found.status, found.message)
