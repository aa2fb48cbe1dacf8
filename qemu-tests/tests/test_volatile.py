"""The disks of the power-cut tests do what those rely on: a cut takes what was not flushed, and only that."""

from pathlib import Path

import pytest

from lab.volatile import PLAIN, VOLATILE, cut, powered
from lvpack_agent.sizes import KIB, MIB
from lvpack_builder.image.build import LiveImage
from lvpack_builder.lab import helper
from lvpack_builder.lab.console import Console
from lvpack_builder.lab.qemu import accelerator, create_disk, live

pytestmark = pytest.mark.timeout(600)

COUNT = 64 * KIB


def write(console: Console, device: str, letter: str, at: int, how: str) -> None:
    """Write COUNT times a letter at a multiple of COUNT, in MiB, and read it back past the guest's cache."""
    where = at * MIB // COUNT
    source = f"tr '\\0' {letter} < /dev/zero | dd iflag=fullblock bs={COUNT} count=1 status=none"
    back = f"dd if={device} iflag=direct bs={COUNT} count=1 skip={where} status=none | tr -d {letter} | wc -c"
    answer = console.shell(f"{source} of={device} seek={where} {how} && {back}", 60)
    assert (answer.status, answer.output.strip()) == (0, "0"), answer


def content(disk: Path, at: int) -> set[bytes]:
    with disk.open("rb") as file:
        file.seek(at * MIB)
        return {byte.to_bytes(1, "big") for byte in file.read(COUNT)}


def test_cut_takes_what_was_not_flushed(image: LiveImage, tmp_path: Path) -> None:
    weak, strong = (create_disk(tmp_path / f"{kind}.img", 64 * MIB) for kind in (VOLATILE, PLAIN))
    with powered(weak, VOLATILE) as one, powered(strong, PLAIN) as two:
        machine = live(image, [helper.SHELL], drives=(one.drive, two.drive))
        with helper.at_shell(machine, accelerator(image), tmp_path / "console.log") as console:
            for device in ("/dev/vda", "/dev/vdb"):
                write(console, device, "B", 1, "oflag=direct")
                write(console, device, "F", 2, "conv=fsync")
                write(console, device, "L", 3, "oflag=direct")
            # A flushed block that is written again without a flush, and zeros that are not flushed.
            write(console, "/dev/vda", "L", 2, "oflag=direct")
            cut(console, one, two)
    assert content(weak, 1) == {b"B"}, "a flush is for all that was written before"
    assert content(weak, 2) == {b"F"}
    assert content(weak, 3) == {b"\0"}
    assert [content(strong, at) for at in (1, 2, 3)] == [{b"B"}, {b"F"}, {b"L"}]


def test_clean_end_keeps_what_was_flushed(image: LiveImage, tmp_path: Path) -> None:
    path = create_disk(tmp_path / "disk.img", 64 * MIB)
    with powered(path, VOLATILE) as disk:
        machine = live(image, [helper.SHELL], drives=(disk.drive,))
        with helper.at_shell(machine, accelerator(image), tmp_path / "console.log") as console:
            write(console, "/dev/vda", "F", 1, "conv=fsync")
            assert content(path, 1) == {b"F"}
            console.send("poweroff -f")
            console.wait(60)
    assert content(path, 1) == {b"F"}
