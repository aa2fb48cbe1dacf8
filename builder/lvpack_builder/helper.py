"""The live image as a helper system: runs one command with disks and a folder of the host at /host."""

from collections.abc import Sequence
from pathlib import Path

from lvpack_agent.errors import Failed
from lvpack_builder.build import LiveImage
from lvpack_builder.console import Answer, Console, running
from lvpack_builder.qemu import Drive, accelerator, live

BOOT_SECONDS = 300.0


def shell_ready(console: Console) -> None:
    """Wait until the shell on the serial console answers."""
    console.expect("a root shell on every console", BOOT_SECONDS)
    answer = console.shell("stty -echo", 60)
    if answer.status:
        raise Failed(f"cannot use the shell of the live image: {answer.output}")


def in_live_image(
    image: LiveImage,
    drives: Sequence[Drive],
    folder: Path,
    command: str,
    transcript: Path,
    deadline: float,
    **options: object,
) -> Answer:
    """Boot the live image to its shell, mount folder at /host, run a command, switch off; deadline in seconds.

    options are fields of Machine; it has no network unless they say so.
    """
    options = {"network": False, "memory": 1536, **options}
    machine = live(image, ["lvpack.action=shell"], drives=tuple(drives), folders=(("host", folder),), **options)
    with running(machine, accelerator(image), transcript) as console:
        shell_ready(console)
        how = "trans=virtio,version=9p2000.L,msize=512000"
        answer = console.shell(f"modprobe 9pnet_virtio && mkdir -p /host && mount -t 9p -o {how} host /host", 60)
        if answer.status == 0:
            answer = console.shell(command, deadline)
        console.send("sync; poweroff -f")
        console.wait(60)
        return answer
