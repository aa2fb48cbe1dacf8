from pathlib import Path

import pytest

from lvpack_agent.devices import sfdisk
from lvpack_agent.layout.disks import Partition, PartitionTable
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from tests.agent.builders.recordings import LAYOUTS, listed, reported


def test_partition_table_and_its_script(blog: Path) -> None:
    table, sector = sfdisk.parse((blog / "sfdisk.json").read_text())
    assert table.label == "dos" and sector == 512
    assert [(p.number, p.start, p.type, p.bootable) for p in table.partitions] == [
        (1, MIB, "83", True),
        (2, 257 * MIB, "8e", False),
    ]
    script = sfdisk.render(table, sector)
    assert "1 : start=2048, size=524288, type=83, bootable\n" in script


def test_logical_partitions_and_their_gaps() -> None:
    table, sector = sfdisk.parse((LAYOUTS / "msdos-logical-partitions/sfdisk.json").read_text())
    assert sector == 512
    assert [(p.number, p.start // MIB, p.size // MIB, p.type) for p in table.partitions] == [
        (1, 1, 50, "83"),
        (3, 60, 900, "f"),
        (5, 61, 100, "83"),
        (6, 200, 300, "8e"),
        (7, 600, 100, "82"),
    ]
    assert table.extended == table.partition(3)


def test_gpt_names_attributes_and_order() -> None:
    table, _ = sfdisk.parse((LAYOUTS / "gpt-partition-after-pv/sfdisk.json").read_text())
    assert table.label == "gpt"
    assert {(p.number, p.start // MIB, p.name, p.attributes) for p in table.partitions} == {
        (1, 1, 'BIOS "boot"', "LegacyBIOSBootable"),
        (3, 2, "", ""),
        (7, 300, "grüße", ""),
    }
    # As sfdisk is told it again.
    assert "1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=" in sfdisk.render(table, 512)


def test_sectors_of_4_kib() -> None:
    table, sector = sfdisk.parse((LAYOUTS / "4k-sectors/sfdisk.json").read_text())
    assert sector == 4096
    assert next((p.number, p.start, p.size) for p in table.partitions) == (1, MIB, 100 * MIB)
    disk = next(d for d in listed("4k-sectors") if d.path == "/dev/vdd")
    assert disk.sector_size == 4096
    assert disk.parts[1].size == table.partitions[1].size
    assert reported("4k-sectors").pvs[0].size == table.partitions[1].size


@pytest.mark.starts_processes
@pytest.mark.parametrize("name", ["msdos-logical-partitions", "gpt-partition-after-pv"])
def test_sfdisk_makes_the_table_of_a_script_and_no_other(name: str, tmp_path: Path) -> None:
    """On a file: the sfdisk of this machine reads what is rendered, and says the same of what it made."""
    table, sector = sfdisk.parse((LAYOUTS / name / "sfdisk.json").read_text())
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(max(p.end for p in table.partitions) + 2 * MIB)
    run(["sfdisk", "--quiet", str(image)], input=sfdisk.render(table, sector))
    made, counted = sfdisk.parse(run(["sfdisk", "--json", str(image)]).stdout)
    assert (made, counted) == (table, sector)


@pytest.mark.starts_processes
@pytest.mark.parametrize("name", ["a\nb", 'q"\\x41\t\x7f', "ü" * 36, "a\u2028b"])
def test_a_name_with_what_ends_a_line_comes_back(name: str, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    row = Partition(number=1, start=MIB, size=MIB, type="0FC63DAF-8483-4772-8E79-3D69D8477DE4", name=name)
    table = PartitionTable(label="gpt", id="9F479FEA-A809-7F43-9ABE-9F97B308DB1B", partitions=(row,))
    run(["sfdisk", "--quiet", str(image)], input=sfdisk.render(table, 512))
    made, _ = sfdisk.parse(run(["sfdisk", "--json", str(image)]).stdout)
    assert [p.name for p in made.partitions] == [name]
