"""What somebody else may have put where a file of a set or a journal is."""

import os
from pathlib import Path

from lvpack_agent.sizes import GIB

DEPTH = 200_000


def spoil(path: Path, kind: str, text: str = "") -> None:
    """Put something else where a file is, if there is one; text is somewhere in it, if it has text."""
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "socket":
            os.mknod(path, 0o140600)
        case "folder":
            path.mkdir()
        case "deep":
            path.write_text('{"x": "' + text + '", "y": ' + "[" * DEPTH + "]" * DEPTH + "}")
        case "cut":
            path.write_text(f'{{"x": "{text}')
        case "list":
            path.write_text("[]")
        case "latin":
            path.write_bytes(b'{"x": "\xfc"}')
        case "huge":
            path.touch()
            os.truncate(path, 6 * GIB)
        case _:
            raise ValueError(kind)


ODD = {
    "fifo": "it is a FIFO, not a file",
    "link": "it is a link, not a file",
    "socket": "it is a socket, not a file",
    "folder": "it is a folder, not a file",
    "huge": "it has 6,442,450,944 bytes",
}
# Of files that hold JSON.
ODD_JSON = ODD | {
    "deep": "it is nested too deep",
    "cut": "Unterminated string",
    "list": "it is not an object",
    "latin": "it is not UTF-8",
}
