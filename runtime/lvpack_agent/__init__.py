"""The agent that runs inside the live image. Standard library and the system's tools only."""

VERSION = "0.2.0"
