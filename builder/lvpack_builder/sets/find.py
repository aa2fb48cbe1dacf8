"""The folder of an image set, told from all that a person may name instead."""

from pathlib import Path

from lvpack_agent.errors import Failed, Refused
from lvpack_agent.image.files import MANIFEST, PARTIAL
from lvpack_builder.image import outputs

HINT = "give the folder that holds disk.img.zst"
# So many image sets of a share are named.
NAMED = 3


def image_set(verb: str, path: Path) -> Path:
    """Return the whole path of a folder that looks like an image set.

    Raises Refused if it does not, which says what it is instead: cannot VERB 'PATH': it is a live image, …
    """
    folder = path.resolve()
    try:
        cause, hint = _other(folder)
    except PermissionError as error:
        raise Failed(
            f"cannot {verb} '{folder}': {error.strerror}",
            hint="a set is for the owner of its files only, unless it was made with lvpack.readers=group: be that user",
        ) from None
    if cause:
        raise Refused(f"cannot {verb} '{folder}': {cause}", hint=hint)
    return folder


def _other(folder: Path) -> tuple[str, str]:
    """Return what a path is if it is no image set, and what to do; nothing if it is one."""
    if not _is_there(folder):
        return "there is no such folder", HINT
    if not folder.is_dir():
        above = folder.parent
        hint = f"give its folder: '{above}'" if _is_set(above) else HINT
        return "it is a file, not the folder of an image set", hint
    if _is_set(folder):
        return "", ""
    for build, which in ((folder, "a live image"), (folder.parent, "part of a live image")):
        if outputs.is_live_image(build):
            return f"it is {which}, not an image set", "give a folder that a backup has written to the share"
    if folder.name.endswith(PARTIAL):
        return "it is an image set that is not finished", "wait for the end of its backup, or make a new one"
    names = sorted(other.name for other in folder.iterdir() if _may_be_set(other))
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return "it holds image sets, but is none", f"give one of them: {', '.join(names[:NAMED])}{more}"
    return f"it is no image set: there is no {MANIFEST} in it", HINT


def _is_set(folder: Path) -> bool:
    return _is_there(folder / MANIFEST) and not outputs.is_live_image(folder)


def _may_be_set(folder: Path) -> bool:
    try:
        return _is_set(folder)
    except PermissionError:
        return False


def _is_there(path: Path) -> bool:
    """Return whether anything has a path. Raises PermissionError if this user may not know."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
