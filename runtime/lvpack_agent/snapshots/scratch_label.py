"""The label at the start of a scratch device, which says whose copy-on-write store follows it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.jsonform import from_json, to_json
from lvpack_agent.sizes import KIB, MIB

# What a label begins with; JSON follows. The store comes LABEL_SIZE bytes after the start of the device.
LABEL = b"lvpack scratch device\n"
LABEL_SIZE = MIB
FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Whose store a scratch device holds (the name of a journal folder, or FREE), and its token."""

    owner: str
    token: str = ""


def read_label(path: str) -> Label | None:
    """Return the label of a device; None if it has none. One that cannot be parsed is of "an unknown machine"."""
    with Path(path).open("rb") as file:
        head = file.read(4 * KIB)
    if not head.startswith(LABEL):
        return None
    try:
        return from_json(Label, json.loads(head.removeprefix(LABEL).rstrip(b"\0")))
    except ValueError:
        return Label(owner="an unknown machine")


def write_label(path: str, label: Label) -> None:
    """Write a label to the start of a device; it is on the device when this returns. Raises Failed if it cannot."""
    try:
        with Path(path).open("r+b") as file:
            file.write((LABEL + json.dumps(to_json(label)).encode()).ljust(4 * KIB, b"\0"))
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: OSError) -> Failed:
    """Return the error for a scratch device that cannot be written."""
    return Failed(f"cannot write scratch device '{path}': {error.strerror}", hint="look at dmesg: is the disk sound?")
