"""What a block device holds: blkid(8) names it, the filesystem's own tools measure it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.filesystems import ext, swap, xfs
from lvpack_agent.filesystems.ext import Superblock
from lvpack_agent.layout.content import Content
from lvpack_agent.processes import run

# blkid(8): 2 is "nothing found", 8 "ambivalent": several signatures that exclude each other.
NOTHING, AMBIVALENT = 2, 8


def parse(text: str) -> dict[str, str]:
    """Read `blkid -p -o export`: KEY=value lines, in which a backslash quotes what a shell would not take."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: re.sub(r"\\(.)", r"\1", value) for key, value in pairs}


def identify_all(devices: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what identify() does for each device, by one call of blkid for all that it knows."""
    if not devices:
        return {}
    answer = run(["blkid", "--probe", "--output", "export", *devices], ok=(0, NOTHING, AMBIVALENT))
    blocks = (parse(text) for text in re.split(r"^(?=DEVNAME=)", answer.stdout, flags=re.MULTILINE))
    known = {facts["DEVNAME"]: facts for facts in blocks if "DEVNAME" in facts}
    # The exit status is only that of the last one.
    return {device: known.get(device) or identify(device) for device in devices}


def identify(device: str) -> dict[str, str]:
    """Return blkid's facts (TYPE, UUID, LABEL, …) of a device, {} if it knows nothing on it.

    Raises Failed if it finds signatures that exclude each other.
    """
    answer = run(["blkid", "--probe", "--output", "export", device], ok=(0, NOTHING, AMBIVALENT))
    if answer.status == AMBIVALENT:
        raise Failed(
            f"cannot tell what '{device}' holds: it has the signatures of several filesystems",
            hint=f"look with `wipefs {Path(device).name}` and remove the wrong one",
        )
    return parse(answer.stdout)


def read(device: str, facts: Mapping[str, str], block: Superblock | None, *, estimate: bool = True) -> Content:
    """Return the content of a device by blkid's facts and an ext filesystem's own, which should be clean.

    Without estimate its minimum is left out, which takes resize2fs a while.
    """
    content = Content(type=facts.get("TYPE", ""), uuid=facts.get("UUID", ""), label=facts.get("LABEL", ""))
    if block:
        return Content(
            type=content.type,
            uuid=content.uuid,
            label=content.label,
            size=block.block_count * block.block_size,
            block_size=block.block_size,
            minimum=ext.minimum(device, block.block_size) if estimate else None,
            free=block.free,
            tables=block.tables,
        )
    if content.type == "xfs":
        known = xfs.read(device)
        return replace(content, size=known.size, block_size=known.block_size)
    if content.type == "swap" and (header := swap.read(device)):
        return Content(
            type=content.type,
            uuid=content.uuid,
            label=content.label,
            size=header.size,
            block_size=header.page_size,
        )
    return content
