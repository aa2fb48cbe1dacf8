"""Metadata that the agent prints, given to LVM itself."""

import shutil
from pathlib import Path

import pytest

from lab.runs import Lab
from lvpack_agent.sizes import MIB
from lvpack_builder.lab.qemu import Drive, create_disk

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parents[1] / "guest/print_anew.py"
NAME = "a_b+c.d-e--f"


def test_lvm_reads_every_value_that_the_agent_prints(lab: Lab) -> None:
    disk = create_disk(lab.folder / "disk.img", 64 * MIB)
    shutil.copy(SCRIPT, lab.folder)
    lab.prepare(
        [Drive(path=disk)],
        f"set -e; vgcreate --addtag 'a=b#c/d!e:f&g' --addtag vg.tag {NAME} /dev/vda\n"
        f"lvcreate -y -l 2 -n .dotted --addtag lv-tag --readahead 1024 --alloc cling {NAME}\n"
        f"lvcreate -y -l 3 -n x--y {NAME} /dev/vda:5 /dev/vda:7 /dev/vda:9\n"
        f"vgchange -a n {NAME}\n"
        f"python3 /host/{SCRIPT.name} {NAME} /dev/vda",
    )
