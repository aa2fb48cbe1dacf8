"""SHA256SUMS of an image set, read with distrust, and the files that it names beside the images."""

import re
from collections.abc import Callable, Container
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.image.checksums import sha256_of_stored
from lvpack_agent.image.files import MANIFEST, OTHER_MOST, OTHERS_MOST, SUMS, SUMS_MOST
from lvpack_agent.shares.stored import Source, local, whole

_LINE = re.compile(r"([0-9a-f]*)  ([^\0]+)")
_SHOWN = 120


def read_sums(folder: Path, odd: Callable[[str], object], source: Source = local) -> dict[str, str]:
    """Return the SHA-256 of each file that SHA256SUMS names; odd gets a sentence for each line that is damaged.

    No name leads out of the folder. Raises OSError if the file cannot be read.
    """
    sums = {}
    text = whole(source(folder / SUMS, SUMS_MOST), SUMS_MOST).decode(errors="backslashreplace")
    for line in text.removesuffix("\n").split("\n"):
        found = _LINE.fullmatch(line)
        if found and _stays(found[2]):
            sums[found[2]] = found[1]
        else:
            odd(f"{SUMS} has the line '{_shown(line)}'")
    return sums


def _stays(name: str) -> bool:
    return not {"", ".", ".."}.intersection(name.split("/"))


def _shown(text: str) -> str:
    """Return text of others as it may stand in a message: of bounded length, and without control characters."""
    short = text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 2 :]}"
    return short if short.isprintable() else ascii(short)[1:-1]


def changed(
    folder: Path, sums: dict[str, str], images: Container[str], odd: Callable[[str], object], source: Source = local
) -> str:
    """Compare the files of a set, but for its images, with their checksums; return what is wrong with manifest.json.

    "" if nothing is. What is wrong with the others, which no restore needs, becomes a sentence for odd.
    """
    fault = "" if MANIFEST in sums else f"{SUMS} does not name {MANIFEST}"
    left = OTHERS_MOST
    for name, expected in sums.items():
        if name in images:
            continue
        try:
            one = source(folder / name, min(OTHER_MOST, left), folder)
            found = sha256_of_stored(one)
            left -= one.size()
        except OSError as error:  # it has just gone
            cause = _shown(f"{name}: {error.strerror}")
        except Failed as failed:
            cause = _shown(failed.message)
        else:
            cause = "" if found == expected else f"{_shown(name)} has changed since it was written"
        if cause and name == MANIFEST:
            fault = cause
        elif cause:
            odd(cause)
    return fault
