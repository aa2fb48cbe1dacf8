"""What an in-place run works with."""

from dataclasses import dataclass
from pathlib import Path

from lvpack_agent.backup.journal import Journal
from lvpack_agent.plan.values import Plan

GOES_ON = "the next boot with the same options goes on from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a first boot decided; layout is the folder with the source's tables, journal None if no step is needed."""

    name: str
    plan: Plan
    layout: Path
    journal: Journal | None
