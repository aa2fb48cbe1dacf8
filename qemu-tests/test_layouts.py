"""Small disks with what the sample server lacks, over NFS 3 and with other compressors: everything arrives."""

import pytest

from lab import Lab, fingerprint
from lvpack_agent import imageset
from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder import inventory
from lvpack_builder.build import LiveImage
from lvpack_builder.demo import sparse_copy
from lvpack_builder.inventory import Inventory
from lvpack_builder.qemu import Drive, create_disk
from lvpack_builder.sample.server import make_sample

pytestmark = pytest.mark.timeout(1800)

SECTOR = 512


def identities(found: Inventory) -> list[object]:
    """Return the table's GUID and its rows without what a smaller disk must change."""
    rows = [{k: v for k, v in p.items() if k not in ("size", "node")} for p in found.table["partitions"]]
    return [found.table["id"], *rows]


@pytest.mark.parametrize(
    ("recipe", "whole", "compress", "nfs", "scratch"),
    [
        pytest.param("gpt", 3, "gzip:1", 3, "ram", marks=pytest.mark.core),
        pytest.param("logical", 0, "zstd:1", 4, "share", marks=pytest.mark.full),
        pytest.param("gpt", 3, "none", 4, "share", marks=pytest.mark.full),
    ],
)
def test_disk_comes_back(
    image: LiveImage, lab: Lab, recipe: str, whole: int, compress: str, nfs: int, scratch: str
) -> None:
    source = sparse_copy(make_sample(image, recipe), lab.folder / "source.img")
    before, untouched = inventory.take(image, Drive(path=source)), fingerprint(source)

    words = ["lvpack.action=backup", "lvpack.name=one", f"lvpack.compress={compress}", "lvpack.margin=8M"]
    words.append(f"lvpack.scratch={scratch}")
    report = lab.run([Drive(path=source)], *words, nfs=nfs)
    assert report.status == "ok", report
    assert fingerprint(source) == untouched
    assert [p.name for p in lab.share.iterdir()] == ["one"], "a store on the share goes with the run"
    manifest = imageset.read_manifest(lab.share / "one")
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=lab.share / "one")

    size = manifest.packed.disks[0].size + 300 * MIB
    assert size < source.stat().st_size
    # Another disk beside it, and something old on the target that may be overwritten.
    target, other = create_disk(lab.folder / "target.img", size), create_disk(lab.folder / "other.img", size)
    with target.open("r+b") as file:
        for at in range(0, size, 10 * MIB):
            file.seek(at)
            file.write(b"old" * SECTOR)
    words = ["lvpack.action=restore", "lvpack.source=one", "lvpack.disk=TARGET", "lvpack.overwrite=yes"]
    report = lab.run([Drive(path=other), Drive(path=target, serial="TARGET")], *words, nfs=nfs)
    assert report.status == "ok", report

    after = inventory.take(image, Drive(path=target))
    assert len(before.whole) == whole
    assert inventory.differing_files(before, after) == []
    assert after.identities() == before.identities()
    assert [pv["vg_free_count"] for pv in after.pvs] == ["0"]
    assert identities(after) == identities(before)
    ends = {p["start"] + p["size"] for p in after.table["partitions"] if p["type"] in ("5", "8e")}
    assert len(ends) <= 1, "an extended partition ends with the PV in it"
    if before.table["label"] == "gpt":
        with target.open("rb") as file:
            file.seek(-SECTOR, 2)
            assert file.read(8) == b"EFI PART", "the backup GPT belongs into the last sector"
    assert "No errors detected" in run(["sfdisk", "--verify", target]).stdout
