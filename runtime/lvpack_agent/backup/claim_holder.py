"""Who has made a claim to a journal folder, as far as it tells: this machine, or another, and how patient that is."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from lvpack_agent.machine import dmi

CARDS = Path("/sys/class/net")


def patience_of_another(text: str) -> float:
    """Return how long the holder of a claim may live without rewriting it, in seconds; 0 if it was this machine.

    lvpack 0.1.0 and 0.2.0 had no patience, and did not say who had made a claim.
    """
    words = text.split()
    if len(words) < 5 or words[1] == this_machine() or not re.fullmatch("[0-9]{6}", words[2]):
        return 0
    return float(words[2])


def this_machine() -> str:
    """Return what tells this machine from others that are at work at the same time, as a short word.

    It is the firmware's number of the machine, and the addresses of its network cards: two machines that have the same
    cannot both reach a share.
    """
    cards = set()
    for path in CARDS.glob("*/address"):
        with suppress(OSError):  # a tunnel may have none
            cards.add(path.read_text().strip())
    known = [dmi.machine().get("product_uuid", ""), *sorted(cards - {"", "00:00:00:00:00:00"})]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
