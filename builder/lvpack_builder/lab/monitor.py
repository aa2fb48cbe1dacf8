"""Commands to a QEMU that runs, by its monitor (QMP: docs/interop/qmp-spec in QEMU's source)."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from lvpack_agent.errors import Failed

MONITOR_SECONDS = 30.0


def ask(monitor: Path, command: str, **arguments: object) -> Any:
    """Give QEMU a command by its monitor, a Unix socket; return the answer. Raises Failed if it does not do it."""
    deadline = time.monotonic() + MONITOR_SECONDS
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(MONITOR_SECONDS)
        while True:
            try:
                link.connect(str(monitor))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failed(f"cannot reach QEMU's monitor '{monitor}': {error.strerror}") from error
                time.sleep(0.1)
        answer: dict[str, Any] = {}
        # A greeting, then an answer to each command; events may come between.
        with link.makefile("rw") as lines:
            for said in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(said) + "\n")
                lines.flush()
                while not ("return" in (answer := json.loads(lines.readline() or "{}")) or "error" in answer):
                    if not answer:
                        raise Failed(f"cannot have QEMU do '{command}': it ended")
                if "error" in answer:
                    raise Failed(f"cannot have QEMU do '{command}': {answer['error']['desc']}")
        return answer["return"]
