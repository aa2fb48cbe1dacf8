"""Firmware that devices of this machine want and the live image lacks, by the kernel's log."""

import re

from lvpack_agent.processes import run

# Kernel: drivers/base/firmware_loader/main.c; Debian's kernel says it in the words of the first form.
_MISSED = re.compile(
    r"^(?P<device>\S.*?): (?:firmware: failed to load (?P<debian>\S+)|Direct firmware load for (?P<plain>\S+) failed)",
    re.MULTILINE,
)


def missing_firmware(text: str) -> tuple[str, ...]:
    """Return a sentence for each firmware file that `dmesg --notime` says is missing, in order, once each."""
    return tuple(
        dict.fromkeys(
            f"the kernel misses firmware {found['debian'] or found['plain']} ({found['device']}); build the image with "
            "--firmware"
            for found in _MISSED.finditer(text)
        )
    )


def read() -> str:
    """Return the kernel's log without times."""
    return run(["dmesg", "--notime"]).stdout
