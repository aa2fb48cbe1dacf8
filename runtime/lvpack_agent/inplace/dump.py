"""The image set of a disk that was packed in place."""

from contextlib import suppress
from pathlib import Path

from lvpack_agent.backup import claim as claims


def remove_if_abandoned(partial: Path, beside: Path) -> None:
    """Remove the folder of a set if it is empty and not new.

    The power went before the journal said whose it is. Another machine that has just made it puts something in it.
    """
    with suppress(OSError):
        if claims.server_time(beside) - partial.stat().st_mtime > claims.SILENT_SECONDS:
            partial.rmdir()
