"""A guest with a small VG, an empty disk and sticks, which packs, verifies and restores by shares of any scheme."""

import base64
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.runs import Lab
from lvpack_agent.report import Report
from lvpack_agent.sizes import MIB
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.qemu import Drive, accelerator, create_disk, live

# What its LV holds does not compress, and is not where it will be.
MAKE = (
    "vgcreate -q small /dev/vda && lvcreate -q -y -n hole -L 8m small && lvcreate -q -y -n data -L {size}m small && "
    "lvremove -q -y small/hole && mkfs.ext4 -q /dev/small/data && mkdir /run/at && mount /dev/small/data /run/at && "
    "head -c {filled}M /dev/urandom > /run/at/file && sha256sum /run/at/file && umount /run/at && "
    "vgchange -q -a n small"
)
SIZE, FILLED = 64, 20


@dataclass(kw_only=True)
class Sharing:
    """The guest, at its shell. Its source is /dev/vda, its empty target /dev/vdb; sticks follow."""

    console: Console
    lab: Lab
    sum: str

    def begin(self, *words: str, **secrets: str) -> None:
        """Start a run with secrets by their names, in the place where stage 1 puts those of the initrd."""
        for name, text in secrets.items():
            file = shlex.quote(f"/lvpack-secrets/{name.replace('_', '-')}")
            coded = base64.b64encode(text.encode()).decode()
            self.must(f"mkdir -p -m 0700 /lvpack-secrets && echo {coded} | base64 -d > {file}")
        line = " ".join(words)
        self.console.send(f"python3 -m lvpack_agent --cmdline {shlex.quote(line)} > /run/said 2>&1")

    def run(self, *words: str, **secrets: str) -> Report:
        self.begin(*words, **secrets)
        return self.console.result(300)

    def must(self, command: str, deadline: float = 120) -> str:
        answer = self.console.shell(command, deadline)
        assert answer.status == 0, answer.output
        return answer.output

    def compare(self) -> None:
        """Raise unless the file on the disk that was restored is what it was; make the disk empty again."""
        said = self.must(
            "vgchange -q -a y --devices /dev/vdb small && mount -o ro /dev/small/data /run/at && "
            "sha256sum /run/at/file && umount /run/at && vgchange -q -a n --devices /dev/vdb small && "
            "wipefs -q -a /dev/vdb && blkdiscard -z /dev/vdb"
        )
        assert self.sum in said


@contextmanager
def sharing(lab: Lab, sticks: Sequence[Path] = (), size: int = SIZE, filled: int = FILLED) -> Iterator[Sharing]:
    """Yield the guest; its VG has size MiB, its file as many as filled."""
    disks = [create_disk(lab.folder / f"{name}.img", (size + 32) * MIB) for name in ("source", "target")]
    machine = live(lab.image, [helper.SHELL], drives=tuple(Drive(path=disk) for disk in (*disks, *sticks)))
    with helper.at_shell(machine, accelerator(lab.image), lab.folder / "console.log") as console:
        made = console.shell(MAKE.format(size=size, filled=filled), 120)
        assert made.status == 0, made.output
        [found] = re.findall("[0-9a-f]{64}", made.output)
        yield Sharing(console=console, lab=lab, sum=found)
