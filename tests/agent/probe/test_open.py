"""What is done to filesystems before they are read. Mapped disks are opened in guests."""

from pathlib import Path

import pytest

from lvpack_agent.devices import blkid
from lvpack_agent.filesystems import ext
from lvpack_agent.probe import open as probe
from lvpack_agent.processes import run


@pytest.mark.starts_processes
@pytest.mark.parametrize("repair_all", [True, False])
def test_a_clean_filesystem_is_repaired_only_if_it_may_have_zeros_for_bad_sectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repair_all: bool
) -> None:
    """Nothing else does so with one on a partition, and the packed disk must pass a check."""
    boot = str(tmp_path / "boot")
    run(["mkfs.ext2", "-q", boot, "16M"])
    [root] = run(["debugfs", "-R", "blocks /", boot]).stdout.split()
    run(["dd", "if=/dev/zero", f"of={boot}", "bs=1024", f"seek={root}", "count=1", "conv=notrunc"])
    monkeypatch.setattr(probe, "replay", lambda *_: None)
    facts = {boot: blkid.identify(boot)}
    monkeypatch.setattr(blkid, "identify_all", lambda _: facts)
    reader = probe._Reader(repair=True, estimate=False, repair_all=repair_all)
    reader.read({"partition 1": boot})
    assert reader.unclean == []
    if repair_all:
        [finding] = reader.findings
        assert finding.startswith("partition 1: e2fsck repaired its copy in the overlay: ")
        ext.check(boot)
    else:
        assert reader.findings == []
