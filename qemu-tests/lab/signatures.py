"""What of other storage stacks tests put on disks: a LUKS header, and the program that makes md arrays in a guest."""

import shutil
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.lab.qemu import create_disk


def luks_image(path: Path) -> Path:
    """Make a file that begins with a LUKS header (cryptsetup(8))."""
    create_disk(path, 20 * MIB)
    # The cheapest key derivation there is: nobody will ever open this.
    cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    run(["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", *cheap, path, "-"], input="secret")
    return path


def mdadm() -> Path:
    """Return this machine's mdadm, which also runs in the live image: that has no such program, and needs none."""
    found = shutil.which("mdadm", path="/usr/sbin:/sbin:/usr/bin")
    if not found:
        raise Failed("cannot make an md array: there is no mdadm", hint="apt-get install mdadm")
    return Path(found)
