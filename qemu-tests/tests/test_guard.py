"""What lvpack must not write is kept from its own writes: sources by read-only mappings, scratch devices by a look."""

from pathlib import Path

import pytest

from lab.runs import Lab
from lab.signatures import mdadm
from lvpack_agent.sizes import MIB
from lvpack_builder.lab.qemu import Drive, create_disk

pytestmark = pytest.mark.timeout(900)

SCRIPT = Path(__file__).parents[1] / "guest/guard.py"


def test_no_write_through_a_mapping_of_a_source_nor_to_a_scratch_device_that_is_not_free(lab: Lab) -> None:
    (lab.folder / "guard.py").write_bytes(SCRIPT.read_bytes())
    (lab.folder / "mdadm").write_bytes(mdadm().read_bytes())
    drives = [Drive(path=create_disk(lab.folder / f"{n}.img", 64 * MIB)) for n in range(3)]
    said = lab.prepare(
        drives,
        "install -m 755 /host/mdadm /usr/sbin/mdadm; modprobe raid1; "
        "python3 /host/guard.py /dev/vda /dev/vdb /dev/vdc /usr/sbin/mdadm",
    )
    assert said.count("takes no write") == 2, said
    assert said.count("was refused") == 2, said
