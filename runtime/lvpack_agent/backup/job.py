"""What a backup works with, in either mode."""

from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.session import Session
from lvpack_agent.settings.values import Settings
from lvpack_agent.shares.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A backup: its settings, its session, and the mounted share that takes the image set.

    folder is for mounts and small files.
    """

    settings: Settings
    session: Session
    shared: Share
    folder: Path

    @property
    def share(self) -> Path:
        """The folder of the share."""
        return self.shared.folder
