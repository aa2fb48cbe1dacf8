"""blkid(8): what is recognised on a block device."""

import re
from collections.abc import Sequence
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run

# blkid(8): 2 is "nothing found", 8 "ambivalent": several signatures that exclude each other.
NOTHING, AMBIVALENT = 2, 8


def parse(text: str) -> dict[str, str]:
    """Read `blkid -p -o export`: KEY=value lines, in which a backslash quotes what a shell would not take."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: re.sub(r"\\(.)", r"\1", value) for key, value in pairs}


def identify_all(devices: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what identify() returns for each device; all that blkid recognises are told by one call of it."""
    if not devices:
        return {}
    answer = run(["blkid", "--probe", "--output", "export", *devices], ok=(0, NOTHING, AMBIVALENT))
    blocks = (parse(text) for text in re.split(r"^(?=DEVNAME=)", answer.stdout, flags=re.MULTILINE))
    known = {facts["DEVNAME"]: facts for facts in blocks if "DEVNAME" in facts}
    # The exit status is only that of the last one.
    return {device: known.get(device) or identify(device) for device in devices}


def identify(device: str) -> dict[str, str]:
    """Return blkid's facts (TYPE, UUID, LABEL, …) of a device, {} if it knows nothing on it.

    Raises Failed if it finds signatures that exclude each other, or does not say of which device it speaks.
    """
    answer = run(["blkid", "--probe", "--output", "export", device], ok=(0, NOTHING, AMBIVALENT))
    if answer.status == AMBIVALENT:
        raise Failed(
            f"cannot tell what '{device}' holds: it has the signatures of several filesystems",
            hint=f"look with `wipefs {Path(device).name}` and remove the wrong one",
        )
    facts = parse(answer.stdout)
    # What is not recognised is kept whole: no answer must not pass for "nothing".
    if answer.status != NOTHING and "DEVNAME" not in facts:
        raise Failed(
            f"cannot understand what blkid says of '{device}': {answer.stdout.strip()[:200]!a}",
            hint="lvpack.action=shell lets you look",
        )
    return facts
