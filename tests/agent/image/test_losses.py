"""What is missing in a set: said wherever the set is used, and read by versions that know nothing of it."""

import json
from dataclasses import replace
from pathlib import Path

from lvpack_agent.image import check, losses, restore_text, write
from lvpack_agent.image.files import MANIFEST, write_text
from lvpack_agent.image.losses import Loss
from lvpack_agent.image.manifest import write_manifest
from lvpack_agent.layout.spots import FREE
from tests.agent.builders.sets import manifest

LOSS = Loss(disk="/dev/sda", sector=2048, sectors=8, volume="LV root", offset=4096, file="/srv/a file")


def test_a_summary_names_disk_volume_and_file_and_counts_no_free_space() -> None:
    assert losses.summary(()) == losses.summary((replace(LOSS, file=FREE),)) == ""
    said = losses.summary((LOSS, replace(LOSS, file=FREE), replace(LOSS, sector=1, sectors=1, file="")))
    assert said.startswith("DATA IS MISSING: 9 sectors of /dev/sda could not be read")
    assert "(LV root: /srv/a file, LV root)" in said
    many = [replace(LOSS, file=f"/f{n}") for n in range(5)]
    assert "/f0, LV root: /f1, LV root: /f2 and 2 more)" in losses.summary(many)


def test_what_was_read_in_the_end_is_said_only_of_what_was() -> None:
    assert losses.doubt((), (), ()) == ""
    assert losses.doubt((), (), ("disk 'x' failed",)).startswith("disk 'x' failed at first: all was read in the end")
    for lost, before in (((), ("a tool's",)), ((replace(LOSS, file=FREE),), ())):
        said = losses.doubt(lost, before, ("a tool's", "disk 'x' failed"))
        assert "all was read" not in said and said.startswith("disk 'x' failed") and "about to fail" in said


def test_the_list_is_a_table() -> None:
    text = losses.render((LOSS,), {"/dev/sda": 512})
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert rows == ["/dev/sda\t2048\t8\tLV root\t4096\t/srv/a file"]
    assert "/dev/sda: 512" in text


def test_a_set_says_it_and_one_without_looks_as_ever(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(4096))
    whole = manifest()
    write_manifest(tmp_path, whole)
    assert "unreadable" not in json.loads((tmp_path / MANIFEST).read_text())
    lacking = replace(whole, unreadable=(LOSS,))
    write_manifest(tmp_path, lacking)
    write_text(tmp_path, losses.BAD_SECTORS, losses.render((LOSS,), {"/dev/sda": 512}))
    write.write_sums(tmp_path, lacking.images)
    assert check.read_manifest(tmp_path) == lacking
    assert losses.BAD_SECTORS in (tmp_path / "SHA256SUMS").read_text()
    text = " ".join(restore_text.restore_text(lacking).split())
    assert losses.summary((LOSS,)) in text and "DATA IS MISSING" not in restore_text.restore_text(whole)
