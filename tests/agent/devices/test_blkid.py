from lvpack_agent.devices import blkid
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
