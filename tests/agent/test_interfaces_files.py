"""docs/interfaces.md has each file, schema and key that the agent writes for others, and none that there is not."""

import json
import re
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from lab.interfaces import headings, prose, rows
from lvpack_agent.backup import claim, journal, journal_read
from lvpack_agent.backup.journal_record import PROGRESS, RECORD, SCHEMA, Merge, Record
from lvpack_agent.errors import Refused
from lvpack_agent.image import check, files, losses, write
from lvpack_agent.image import manifest as imageset
from lvpack_agent.image.files import SUFFIXES
from lvpack_agent.image.losses import Loss
from lvpack_agent.image.manifest import Manifest
from lvpack_agent.inplace.procedure import form
from lvpack_agent.inplace.steps import MarkVg
from lvpack_agent.machine import dmi
from lvpack_agent.settings.values import Compression
from tests.agent.builders.sets import SET, manifest, write_set

# What a manifest has from the result of its run.
OF_A_RESULT = ("Sizes", "Timings")
# What the kernel has of a machine (ABI/testing/sysfs-class-dmi).
DMI = (
    *("bios_date", "bios_release", "bios_vendor", "bios_version", "board_asset_tag", "board_name", "board_serial"),
    *("board_vendor", "board_version", "chassis_asset_tag", "chassis_serial", "chassis_type", "chassis_vendor"),
    *("chassis_version", "ec_firmware_release", "product_family", "product_name", "product_serial", "product_sku"),
    *("product_uuid", "product_version", "sys_vendor"),
)


def objects(kind: type) -> dict[str, set[str]]:
    """Return the keys of the JSON form of a dataclass, and of each that it holds, by their names."""
    known = [f for f in fields(kind) if f.metadata.get("json", True)]
    hints = typing.get_type_hints(kind)
    found = {kind.__name__: {str(f.metadata.get("name", f.name)) for f in known}}
    for field in known:
        for inner in dataclasses_in(hints[field.name]):
            if inner.__name__ not in found:
                found |= objects(inner)
    return found


def dataclasses_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from dataclasses_in(inner)


def test_each_object_of_a_manifest_and_each_of_its_keys() -> None:
    page = {heading: set(rows(heading)) for heading in (*headings("manifest.json"), *OF_A_RESULT)}
    assert objects(Manifest) == page


def test_what_is_written_is_on_the_page(tmp_path: Path) -> None:
    page = rows("Manifest")
    later = {key for key, cells in page.items() if cells[0].startswith("schema 2 only")}
    one = manifest()
    [image] = one.images
    several = replace(one, schema=imageset.SCHEMA_SEVERAL, further=(replace(image, image="disk1.img"),))
    lacking = replace(one, unreadable=(Loss(disk="", sector=0, sectors=1, volume="", offset=0),))
    with_losses = {"unreadable"}
    for made, expected in (
        (one, page.keys() - later - with_losses),
        (several, page.keys() - with_losses),
        (lacking, page.keys() - later),
    ):
        imageset.write_manifest(tmp_path, made)
        assert json.loads((tmp_path / files.MANIFEST).read_text()).keys() == expected
    assert later


def test_each_schema_of_a_manifest(tmp_path: Path) -> None:
    page = {int(number) for number in rows("manifest.json")}
    assert page == {imageset.SCHEMA, imageset.SCHEMA_SEVERAL}
    for number in range(max(page) + 3):
        write_set(tmp_path / str(number))
        imageset.write_manifest(tmp_path / str(number), replace(manifest(), schema=number))
        write.write_sums(tmp_path / str(number), manifest().images)
        if number in page:
            check.read_manifest(tmp_path / str(number))
        else:
            with pytest.raises(Refused, match=f"schema is {number}"):
                check.read_manifest(tmp_path / str(number))


def test_what_a_reader_does_not_know_is_passed_over(tmp_path: Path) -> None:
    write_set(tmp_path / SET)
    path = tmp_path / SET / files.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    write.write_sums(tmp_path / SET, manifest().images)
    assert check.read_manifest(tmp_path / SET) == manifest()


def test_what_is_said_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DMI:
        (tmp_path / name).write_text(f"{name}\n")
    monkeypatch.setattr(dmi, "DMI", tmp_path)
    assert list(dmi.machine()) == re.findall(r"`(\w+)`", rows("Manifest")["machine"][0])


def test_each_file_of_an_image_set() -> None:
    page = rows("Files of an image set")
    others = {files.MANIFEST, files.SUMS, files.RESTORE, "agent.log", "layout/", losses.BAD_SECTORS}
    name = files.image_name(0, SUFFIXES["zstd"])
    image = imageset.Image(image=name, block_map=(), checksums=manifest().checksums)
    further = replace(image, image=files.image_name(1, SUFFIXES["zstd"]))
    numbered = {made.replace("1", "N", 1) for made in (further.image, further.bmap)}
    assert page.keys() == {image.image, image.bmap} | numbered | others
    for suffix in SUFFIXES.values():
        assert f"`{files.image_name(0, suffix)}`" in prose()
    assert f"ending `{files.PARTIAL}`" in prose()
    assert {made.method for made in map(compression, SUFFIXES)} == set(
        re.findall(r"`(\w+)`", rows("Compression")["method"][0])
    )


def compression(method: str) -> Compression:
    return Compression(method=method, level=0)


def test_each_file_of_a_journal_and_each_of_its_keys(tmp_path: Path) -> None:
    share, layout = tmp_path / "share", tmp_path / "layout"
    share.mkdir()
    layout.mkdir()
    record = Record(
        schema=SCHEMA,
        lvpack="0",
        created=journal.now(),
        name=SET,
        vg="vg",
        vg_uuid="VGUUID",
        disk="DISK",
        plan=manifest().plan,
        unclean=(),
        steps=form((MarkVg(on=True),)),
    )
    folder = journal_read.folder(share, record.vg_uuid, record.disk)
    assert folder.name.startswith("inplace-VGUUID-DISK-") and "`inplace-VGUUID-DISK`" in prose()
    with claim.held(folder, print) as held:
        begun = journal.begin(folder, held, record, layout)
        begun.advance(merge=Merge(before=(), after=(), store="", size=0))
        written = {name: json.loads((folder / name).read_text()) for name in (RECORD, PROGRESS)}
    written["Merge"] = written[PROGRESS]["merge"]
    assert {name: list(form) for name, form in written.items()} == {
        heading: list(rows(heading)) for heading in headings("The journal")
    }
    assert "`step`" in rows(RECORD)["steps"][0]
    assert written[RECORD]["steps"][0]["step"] == "MarkVg"


def test_each_schema_of_a_journal(tmp_path: Path) -> None:
    assert list(rows("The journal")) == [str(SCHEMA)]
    for number in (SCHEMA - 1, SCHEMA + 1):
        (tmp_path / RECORD).write_text(json.dumps({"schema": number}))
        with pytest.raises(Refused, match=f"has schema {number}, not {SCHEMA}"):
            journal_read.read(tmp_path)
