"""The one place that knows where the agent keeps its things: a folder in memory, gone with the machine's power.

It holds names only; a unit test would repeat them.
"""

from pathlib import Path

RUN = Path("/run/lvpack")
LOG = RUN / "agent.log"
# Written when the result has been said: what follows it, such as poweroff. start-agent does that if the agent cannot.
SAID = RUN / "said"
# What follows if the agent is killed before it has said its result.
ONERROR = RUN / "onerror"
# How the log of a backup is left on its share if the agent is killed: there while the share takes one.
LEAVES = RUN / "leaves"
# Who is to be told of the result if the agent is killed.
NOTIFY = RUN / "notify"
# Where the share is mounted.
SHARE = RUN / "share"
# There while the share does not answer: clocks that measure others' silence stand still.
AWAY = RUN / "share-away"
# There when a program hangs that cannot be killed.
HUNG = RUN / "hung"
# What udhcpc's script and the agent know of the network.
NETWORK = RUN / "network"
# Where filesystems are mounted so that the kernel replays their log, and so that a file of them is read.
REPLAY = RUN / "replay"
READING = RUN / "reading"
# How folders end, in RUN, in which ssh finds its key as long as a share is open.
KEYS = "-ssh"
# Where stage 1 of the initrd puts the secrets that `lvpack build --secret` packed.
SECRETS = Path("/lvpack-secrets")
