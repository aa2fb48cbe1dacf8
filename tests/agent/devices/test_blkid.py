import os
from pathlib import Path

import pytest

from lvpack_agent.devices import blkid
from lvpack_agent.errors import Failed
from lvpack_agent.layout.content import PV_TYPE
from tests.agent.builders.recordings import LAYOUTS


def test_blkid() -> None:
    def facts(name: str) -> dict[str, str]:
        return blkid.parse((LAYOUTS / name).read_text())

    assert facts("gpt-partition-after-pv/blkid-vdb7.txt")["LABEL"] == "a label"
    assert facts("msdos-logical-partitions/blkid-vdb7.txt")["TYPE"] == "swap"
    assert facts("msdos-logical-partitions/blkid-vdb3.txt").get("PTTYPE") == "dos"
    assert facts("linear-many-segments/blkid-vda1.txt")["TYPE"] == PV_TYPE
    assert facts("pv-in-luks/blkid-vdb2.txt")["TYPE"] == "crypto_LUKS"
    assert {facts(f"pv-in-md/blkid-vdb{n}.txt")["TYPE"] for n in (1, 2)} == {"linux_raid_member"}
    journal = facts("external-journal/blkid-vdb2.txt")
    assert journal["TYPE"] == "jbd"
    assert facts("external-journal/blkid-vdb1.txt")["EXT_JOURNAL"] == journal["LOGUUID"]


@pytest.mark.starts_processes
def test_an_answer_about_no_device_is_not_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "blkid"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def says(text: str, status: int) -> None:
        tool.write_text(f"#!/bin/sh\necho '{text}'\nexit {status}\n")
        tool.chmod(0o755)

    says("nonsense", 0)
    with pytest.raises(Failed, match="cannot understand what blkid says of '/dev/vdb': 'nonsense'"):
        blkid.identify("/dev/vdb")
    with pytest.raises(Failed, match="cannot understand what blkid says"):
        blkid.identify_all(["/dev/vdb"])
    says("", 2)
    assert blkid.identify("/dev/vdb") == {}
    says("DEVNAME=/dev/vdb\nTYPE=ext4", 0)
    assert blkid.identify_all(["/dev/vdb"])["/dev/vdb"]["TYPE"] == "ext4"
