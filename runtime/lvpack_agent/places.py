"""The one place that knows where the agent keeps its things: a folder in memory, gone with the machine's power."""

from pathlib import Path

RUN = Path("/run/lvpack")
LOG = RUN / "agent.log"
# What is to follow, once the result was said: start-agent does it if the agent cannot.
SAID = RUN / "said"
# What follows if the agent is killed before that.
ONERROR = RUN / "onerror"
# What udhcpc's script and the agent know of the network.
NETWORK = RUN / "network"
# Where filesystems are mounted: those whose log the kernel replays, and those of which a file is read.
REPLAY = RUN / "replay"
READING = RUN / "reading"
